"""How often a state that lasts is told."""

from typing import Any

import pytest

from hub.plumbing.life.lasting import Lasting

pytestmark = pytest.mark.fault(31)


class Lines:
    """A logger that keeps what it is told, and the clock of the state."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.said: list[tuple[float, str, dict[str, Any]]] = []

    def warning(self, sentence: str, **fields: Any) -> None:
        self.said.append((self.now - 1000.0, sentence, fields))


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def state(lines: Lines) -> Lasting:
    return Lasting(lines, "away", "back", clock=lambda: lines.now)


def test_told_when_it_begins_with_growing_pauses_and_when_it_ends(
    lines: Lines, state: Lasting, record_property: Any
) -> None:
    """An hour, met each second."""
    for _ in range(3600):
        state.seen(kind="OSError")
        lines.now += 1
    state.over(rows=3)
    at = [when for when, _, _ in lines.said]
    assert at == [0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030, 3600]
    record_property("seen", f"{len(at)} lines for an hour met each second")
    assert lines.said[0][1:] == ("away", {"kind": "OSError"})
    assert lines.said[1][1:] == ("away", {"kind": "OSError", "lastsS": 10.0, "times": 11})
    assert lines.said[-1][1:] == ("back", {"lastedS": 3600.0, "times": 3600, "rows": 3})


def test_the_next_time_is_told_like_the_first(lines: Lines, state: Lasting) -> None:
    for _ in range(2):
        state.seen()
        lines.now += 60
        state.over()
        lines.now += 60
    assert [sentence for _, sentence, _ in lines.said] == ["away", "back"] * 2


def test_an_end_without_a_beginning_is_nothing(lines: Lines, state: Lasting) -> None:
    state.over()
    assert not lines.said


def test_what_flickers_writes_no_more_than_what_stays(lines: Lines, state: Lasting) -> None:
    """On and off ten times a second for ten minutes: some lines, and the last of them is true."""
    for _ in range(6000):
        state.seen()
        lines.now += 0.05
        state.over()
        lines.now += 0.05
    assert len(lines.said) <= 2 * 600 / 5 + 2
    lines.now += 10
    state.seen()
    assert lines.said[-1][1] == "away"
    state.over()
    assert lines.said[-1][1] == "back"
