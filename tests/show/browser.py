"""What is shown on the console, in Chromium; without one nothing is shown."""

from tests.show import Verdict
from tests.show.main_job import pytest_passes


def in_chromium(*arguments: str) -> Verdict:
    """Tests of the console that must run: one that is skipped shows nothing."""
    passed, figures = pytest_passes(*arguments)
    return Verdict(passed and "skipped" not in figures, figures)


def urgent_question() -> Verdict:
    return in_chromium("tests/browser/test_urgent.py")


def live_commerce() -> Verdict:
    return in_chromium("tests/browser/test_live.py")
