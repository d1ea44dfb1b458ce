"""Property test of `rules.next_step`: whatever happens, the steps for one notification end well."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.domain.rules import (
    EMAIL_NEEDS_LEFT,
    FINAL,
    LADDER,
    Delivery,
    Done,
    Facts,
    Reason,
    Send,
    Suppress,
    Timers,
    Wait,
    ended,
    next_step,
)

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
STEPS = 60
"""More than any notification needs: three channels, each waited for, leased, tried and settled."""

seconds = st.integers(0, 1200)
moments = seconds.map(lambda after: START + timedelta(seconds=after))
outcomes = st.lists(
    st.sampled_from(["sent", "failed", "expired", "suppressed", "queued", "lapsed"]), max_size=8
)
happenings = st.dictionaries(
    st.sampled_from(["acknowledged", "seen", "gone", "question_answered"]), seconds, max_size=4
)
mostly = st.sampled_from([True, True, True, False])


@st.composite
def first_facts(draw: st.DrawFn) -> Facts:
    """Facts at the start: most allow something, and many deadlines lie about the email's time."""
    timers = Timers(draw(st.integers(0, 120)), draw(st.integers(0, 700)))
    about_the_email = st.integers(-90, 90).map(
        lambda off: START + timedelta(seconds=timers.email + off)
    )
    return Facts(
        urgent=draw(st.booleans()),
        created_at=START,
        timers=timers,
        question_status=draw(st.sampled_from([None, "active", "active", "closed", "deleted"])),
        deadline_at=draw(st.none() | moments | about_the_email),
        had_socket=draw(st.booleans()),
        topic_on=draw(mostly),
        push_on=draw(mostly),
        kakao_on=not draw(mostly),
        email_on=draw(mostly),
        has_device=draw(mostly),
        has_kakao=draw(mostly),
        has_address=draw(mostly),
        address_suppressed=not draw(mostly),
    )


class Story:
    """A notification's life: steps are followed at once, waiting moves the time."""

    def __init__(self, facts: Facts, happens: dict[str, int], outcomes: list[str]) -> None:
        self.facts = facts
        self.happens = happens
        self.outcomes = list(outcomes)
        self.now = START
        self.sends: list[tuple[str, datetime]] = []
        self.suppressed: list[Suppress] = []

    def _look(self) -> Facts:
        passed = (self.now - START).total_seconds()
        known: dict[str, Any] = {
            name: True for name, after in self.happens.items() if passed >= after
        }
        return replace(self.facts, **known)

    def step(self) -> bool:
        """Follow one step; false when there is nothing more to do."""
        facts = self._look()
        step = next_step(facts, self.now)
        if isinstance(step, Done):
            return False
        if isinstance(step, Wait):
            assert step.until > self.now, "waiting takes time"
            self.now = step.until
        elif isinstance(step, Suppress):
            assert step.reason in Reason
            self.suppressed.append(step)
            self._settle(step.channel, "suppressed")
        else:
            self._send(facts, step)
        return True

    def _send(self, facts: Facts, step: Send) -> None:
        assert ended(facts, self.now) is None, "nothing leaves after the answer, the look, the end"
        assert facts.deadline_at is None or self.now < facts.deadline_at
        if step.channel in ("push", "kakao"):
            assert not facts.acknowledged
            assert step.channel == "push" or facts.kakao_on
        elif facts.urgent:
            assert not facts.acknowledged
            assert facts.deadline_at is None or self.now <= facts.deadline_at - EMAIL_NEEDS_LEFT
        self.sends.append((step.channel, self.now))
        outcome = self.outcomes.pop(0) if self.outcomes else "sent"
        if outcome == "lapsed":  # the worker died; another one may begin when its lease is over
            lease = self.now + timedelta(seconds=12)
            self._settle(step.channel, "sending", lease)
        else:
            self._settle(step.channel, outcome)

    def _settle(self, channel: str, status: str, lease: datetime | None = None) -> None:
        others = [one for one in self.facts.deliveries if one.channel != channel]
        self.facts = replace(self.facts, deliveries=[*others, Delivery(channel, status, lease)])


@given(first_facts(), happenings, outcomes)
def test_property_the_steps_end_and_send_only_what_may_be_sent(
    facts: Facts, happens: dict[str, int], results: list[str]
) -> None:
    story = Story(facts, happens, results)
    for _ in range(STEPS):
        if not story.step():
            break
    else:
        raise AssertionError("the steps do not end")
    statuses = {one.channel: one.status for one in story.facts.deliveries}
    assert statuses.keys() - {"kakao"} == {"push", "email"}
    assert ("kakao" in statuses) == facts.kakao_on
    assert set(statuses.values()) <= FINAL
    assert len(story.suppressed) <= len(LADDER)


@given(first_facts(), happenings)
def test_property_at_most_one_send_a_channel_when_nothing_fails(
    facts: Facts, happens: dict[str, int]
) -> None:
    story = Story(facts, happens, [])
    while story.step():
        pass
    channels = [channel for channel, _ in story.sends]
    assert sorted(channels) == sorted(set(channels))
    assert channels == [rung.channel for rung in LADDER if rung.channel in channels]
    assert not {"push", "kakao"} <= set(channels), "a messenger stands in for a push"


@given(first_facts(), moments)
def test_property_a_live_claim_is_never_taken_by_another(facts: Facts, now: datetime) -> None:
    lease = now + timedelta(seconds=5)
    for channel in ("push", "email"):
        claimed = [Delivery("push", "sent"), Delivery("email", "sending", lease)]
        if channel == "push":
            claimed = [Delivery("push", "sending", lease)]
        step = next_step(replace(facts, deliveries=claimed), now)
        assert not isinstance(step, Send)


@given(st.integers(-30, 120), st.booleans(), st.booleans())
def test_property_an_urgent_mail_needs_a_minute_and_nobody_who_acknowledged(
    left: int, acknowledged: bool, answered: bool
) -> None:
    now = START + timedelta(seconds=500)
    facts = Facts(
        urgent=True,
        created_at=START,
        timers=Timers(30, 240),
        acknowledged=acknowledged,
        question_status="active",
        question_answered=answered,
        deadline_at=now + timedelta(seconds=left),
        has_address=True,
        deliveries=[Delivery("push", "sent")],
    )
    allowed = left >= 60 and not acknowledged and not answered
    assert isinstance(next_step(facts, now), Send) == allowed
