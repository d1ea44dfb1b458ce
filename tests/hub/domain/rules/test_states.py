"""The automaton of an urgent question is whole, and nothing leaves it by another way."""

from pathlib import Path

import pytest

from hub.domain.rules.picture import page
from hub.domain.rules.states import (
    AWAITING,
    MEANINGS,
    URGENT_STATES,
    IllegalMove,
    UrgentState,
    follow,
)

PAGE = Path(__file__).parents[4] / "deploy/docs/urgent-states.md"


def test_every_state_has_its_row() -> None:
    assert URGENT_STATES.keys() == set(UrgentState)


def test_every_state_can_be_reached_from_the_first() -> None:
    reached, new = set[UrgentState](), {UrgentState.OPEN}
    while new:
        reached |= new
        new = set[UrgentState]().union(*(URGENT_STATES[state] for state in new)) - reached
    assert reached == set(UrgentState)


def test_whatever_awaits_an_answer_can_be_answered_closed_or_expire() -> None:
    ends = {UrgentState.ANSWERED, UrgentState.CLOSED, UrgentState.EXPIRED}
    for state in AWAITING:
        assert ends <= URGENT_STATES[state].keys(), state


def test_the_page_is_printed_from_the_table() -> None:
    assert PAGE.read_text("utf-8") == page()
    assert MEANINGS.keys() == set(UrgentState)


@pytest.mark.parametrize("now", UrgentState)
@pytest.mark.parametrize("then", UrgentState)
def test_a_state_follows_as_the_table_says(now: UrgentState, then: UrgentState) -> None:
    if then in URGENT_STATES[now]:
        assert follow(now, then) is then
    else:
        with pytest.raises(IllegalMove, match=f"{now} -> {then}"):
            follow(now, then)
