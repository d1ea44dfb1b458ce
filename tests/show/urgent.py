"""The urgent question as a protocol: what it must show."""

from tests.show import Item, Verdict, answerers, crowd, reconciled, wakes
from tests.show.blackout import blackout
from tests.show.browser import urgent_question
from tests.show.draining import drained
from tests.show.main_job import pytest_passes


def model() -> Verdict:
    return pytest_passes("tests/hub/domain/questions/test_urgent_model.py")


def rules() -> Verdict:
    return pytest_passes(
        "tests/hub/domain/questions", "--deselect=tests/hub/domain/questions/test_urgent_model.py"
    )


def explained() -> Verdict:
    return pytest_passes("tests/workers/test_explain.py")


def taken_back() -> Verdict:
    return pytest_passes("tests/workers/test_recalling.py")


def clocks() -> Verdict:
    return pytest_passes(
        "tests/hub/domain/rules/test_quiet.py",
        "tests/workers/test_digest_days.py",
        "tests/workers/test_preferences.py",
    )


ITEMS = [
    Item("1", "a model on a virtual clock, with crashes", model),
    Item("1b", "each rule of waves, claims and ends", rules),
    Item("2", "nobody missed, nobody called twice, while all fail at once", wakes.all_at_once),
    Item("3", "a provider dark for a minute: no push late, all others expired", blackout),
    Item("4", "explain: each reason that can occur, one verdict each", explained),
    Item("4b", "explain, on 100,000 people", crowd.explained),
    Item("5", "50 waves to 5,000 connected answerers in 165 cells", answerers.waves_to_the_last),
    Item("6", "events applied to a stale inbox give a fresh fetch", reconciled.copies),
    Item("7", "what is over or read leaves every screen within a second", taken_back),
    Item("8", "quiet hours over both changes in three zones; a digest a local day", clocks),
    Item("9", "the console: waves, claims, what is taken back, and why", urgent_question),
    Item("claims", "1,000 claims at once", crowd.claimed),
    Item("speed.1", "a wave of 200 out of 10,000", crowd.ten_thousand),
    Item("speed.2", "a wave of 200 out of 100,000", crowd.hundred_thousand),
    Item("speed.3", "1,000 acknowledgements are a few changes", crowd.acknowledged),
    Item("speed.4", "one worker's jobs a second, beside the job engine alone", drained),
]
