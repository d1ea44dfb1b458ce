"""What parts of the tests show: the contract row by row, schemathesis, and what strangers try."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from api.routes import ROUTES
from protocol.domain_events import DOMAIN_EVENTS
from protocol.events import CLIENT_EVENTS, SERVER_EVENTS
from tests.contracts.test_sections import CONTRACT
from tests.show import Verdict

ROOT = Path(__file__).parents[2]


def _cases(*arguments: str) -> list[ElementTree.Element]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = (f"--junitxml={report}", "-o", "junit_family=xunit1", "--timeout=0")
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *options, *arguments],
            cwd=ROOT,
            env={**os.environ},
            capture_output=True,
            check=False,
        )
        return list(ElementTree.parse(report).iter("testcase"))


def _failed(cases: list[ElementTree.Element]) -> list[str]:
    """Names of those that did not pass; one that was skipped shows nothing."""
    ends = ("failure", "error", "skipped")
    return [one.get("name", "") for one in cases if any(one.find(end) is not None for end in ends)]


def row_by_row() -> Verdict:
    """The pages are printed from these tables (tests/protocol/test_describe.py,
    tests/api/test_docs.py)."""
    pages = _cases("-n", "2", "tests/contracts", "tests/protocol/test_describe.py")
    pages += _cases("tests/api/test_docs.py")
    played = _cases("tests/api/test_schema.py")
    wrong = _failed(pages) + _failed(played)
    figures = (
        f"{len(CLIENT_EVENTS)} + {len(SERVER_EVENTS)} socket events, {len(ROUTES)} routes,"
        f" {len(DOMAIN_EVENTS)} domain events on the generated pages; {len(CONTRACT)} sections of"
        f" the contract in {len(pages)} tests; schemathesis with real tokens and keys on"
        f" {len(ROUTES) + 3} operations; wrong={', '.join(wrong) or 'none'}"
    )
    return Verdict(bool(pages) and bool(played) and not wrong, figures)


def strangers() -> Verdict:
    """The tests marked `refused`, and what they saw."""
    cases = _cases("-n", "2", "--dist", "loadfile", "-m", "refused and not story")
    names = Counter(one.get("name", "").partition("[")[0].removeprefix("test_") for one in cases)
    seen = [
        found.get("value", "")
        for one in cases
        for found in one.iter("property")
        if found.get("name") == "seen"
    ]
    wrong = _failed(cases)
    told = ", ".join(f"{name} {count}" for name, count in sorted(names.items()))
    figures = f"{len(cases)} tests ({told}); {'; '.join(dict.fromkeys(seen))}"
    return Verdict(len(names) > 30 and not wrong, figures + f"; wrong={wrong or 'none'}")
