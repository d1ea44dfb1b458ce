"""Whom a wave wakes: the first of those who want it, and why the others are left."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.rules.audience import Candidate, rank
from hub.domain.rules.reasons import Reason

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SOMEBODY = Candidate("u", 800.0, True, NOW, 2000, urgent_enabled=True, muted=False)
WITHHELD: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.TOLD_BEFORE, {"told_before": True}),
    (Reason.BLOCKED, {"blocked": True}),
    (Reason.TOPIC_OFF, {"urgent_enabled": False}),
    (Reason.MUTED, {"muted": True}),
    (Reason.OUTSIDE_RADIUS, {"radius_m": 500}),
    (Reason.CHANNEL_OFF, {"reachable": False}),
    (Reason.QUIET_HOURS, {"quiet": True}),
    (Reason.CAP_PERSON, {"capped": True}),
]
"""In the order in which the first one is told."""


@pytest.mark.parametrize(("reason", "facts"), WITHHELD)
def test_each_wish_has_its_reason(reason: Reason, facts: dict[str, Any]) -> None:
    one = replace(SOMEBODY, **facts)
    audience = rank([one], 2000, 1)
    assert (audience.chosen, audience.withheld) == ([], [(one, reason)])


@given(st.lists(st.sets(st.sampled_from(range(len(WITHHELD)))), max_size=12), st.integers(0, 5))
def test_property_people_suppressed_take_no_place(wishes: list[set[int]], places: int) -> None:
    people = [
        replace(SOMEBODY, user_id=str(n), **{k: v for i in has for k, v in WITHHELD[i][1].items()})
        for n, has in enumerate(wishes)
    ]
    audience = rank(people, 2000, places)
    willing = [one for one, has in zip(people, wishes, strict=True) if not has]
    assert audience.chosen == willing[:places]
    told = dict(audience.withheld)
    for one, has in zip(people, wishes, strict=True):
        if has:
            assert told[one] is WITHHELD[min(has)][0]
        elif one not in audience.chosen:
            assert told[one] is Reason.CAP_WAVE
