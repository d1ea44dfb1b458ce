"""Property test of `ladder.next_step`: whatever happens, a notification's steps end well."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.domain.rules.kinds import (
    ANSWER_CREATED,
    CHANNELS,
    DIGEST,
    OTHER,
    QUESTION_URGENT,
    WELCOME,
    Channel,
    Kind,
)
from hub.domain.rules.ladder import (
    Delivery,
    Done,
    Facts,
    Reach,
    Send,
    Step,
    Suppress,
    Wait,
    ended,
    next_step,
)
from hub.domain.rules.quiet import QuietHours
from hub.domain.rules.reasons import Cause, Reason
from hub.domain.rules.states import FINAL, DeliveryStatus, QuestionStatus

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
STEPS = 60
"""More than any notification needs: three channels, each waited for, leased, tried and settled."""

seconds = st.integers(0, 1200)
moments = seconds.map(lambda after: START + timedelta(seconds=after))
LAPSED = DeliveryStatus.SENDING
"""Of a claim: the worker died; another one may begin when its lease is over."""

outcomes = st.lists(
    st.sampled_from(
        [
            DeliveryStatus.SENT,
            DeliveryStatus.FAILED,
            DeliveryStatus.EXPIRED,
            DeliveryStatus.SUPPRESSED,
            DeliveryStatus.QUEUED,
            LAPSED,
        ]
    ),
    max_size=8,
)
kinds = st.sampled_from([QUESTION_URGENT, ANSWER_CREATED, WELCOME, OTHER])
happenings = st.dictionaries(
    st.sampled_from(["acknowledged", "seen", "gone", "question_answered"]), seconds, max_size=4
)
mostly = st.sampled_from([True, True, True, False])


@st.composite
def first_facts(draw: st.DrawFn) -> Facts:
    """Facts at the start: most allow something, and many deadlines lie about the email's time."""
    push_s = draw(st.integers(0, 120))
    timers = {
        Channel.PUSH: push_s,
        Channel.KAKAO: push_s,
        Channel.EMAIL: draw(st.integers(0, 700)),
    }
    about_the_email = st.integers(-90, 90).map(
        lambda off: START + timedelta(seconds=timers[Channel.EMAIL] + off)
    )
    statuses = [None, QuestionStatus.ACTIVE, QuestionStatus.ACTIVE, *QuestionStatus]
    return Facts(
        kind=draw(kinds),
        created_at=START,
        timers=timers,
        question_status=draw(st.sampled_from(statuses)),
        deadline_at=draw(st.none() | moments | about_the_email),
        had_socket=draw(st.booleans()),
        topic_on=draw(mostly),
        blocked=not draw(mostly),
        muted=not draw(mostly),
        outside_radius=not draw(mostly),
        quiet=draw(st.none() | st.sampled_from([DAY, NIGHT, MORNING])),
        capped=not draw(mostly),
        pause_until=draw(st.none() | moments),
        reach={
            Channel.PUSH: Reach(on=draw(mostly), there=draw(mostly)),
            Channel.KAKAO: Reach(on=not draw(mostly), there=draw(mostly)),
            Channel.EMAIL: Reach(on=draw(mostly), there=draw(mostly), suppressed=not draw(mostly)),
        },
    )


class Story:
    """A notification's life: steps are followed at once, waiting moves the time."""

    def __init__(
        self, facts: Facts, happens: dict[str, int], outcomes: list[DeliveryStatus]
    ) -> None:
        self.facts = facts
        self.happens = happens
        self.outcomes = list(outcomes)
        self.now = START
        self.sends: list[tuple[Channel, datetime]] = []
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
            self._settle(step.channel, DeliveryStatus.SUPPRESSED)
        else:
            self._send(facts, step)
        return True

    def _send(self, facts: Facts, step: Send) -> None:
        assert ended(facts, self.now) is None, "nothing leaves after the answer, the look, the end"
        assert facts.deadline_at is None or self.now < facts.deadline_at
        if CHANNELS[step.channel].ended_by_acknowledgement:
            assert not facts.acknowledged
            assert facts.reach[step.channel].on
        elif facts.kind.urgent:
            assert not facts.acknowledged
            least = CHANNELS[step.channel].least_left
            assert facts.deadline_at is None or self.now <= facts.deadline_at - least
        self.sends.append((step.channel, self.now))
        outcome = self.outcomes.pop(0) if self.outcomes else DeliveryStatus.SENT
        if outcome is LAPSED:
            self._settle(step.channel, outcome, self.now + timedelta(seconds=12))
        else:
            self._settle(step.channel, outcome)

    def _settle(
        self, channel: Channel, status: DeliveryStatus, lease: datetime | None = None
    ) -> None:
        others = [one for one in self.facts.deliveries if one.channel != channel]
        self.facts = replace(self.facts, deliveries=[*others, Delivery(channel, status, lease)])


@given(first_facts(), happenings, outcomes)
def test_property_the_steps_end_and_send_only_what_may_be_sent(
    facts: Facts, happens: dict[str, int], results: list[DeliveryStatus]
) -> None:
    story = Story(facts, happens, results)
    for _ in range(STEPS):
        if not story.step():
            break
    else:
        raise AssertionError("the steps do not end")
    statuses = {one.channel: one.status for one in story.facts.deliveries}
    assert statuses.keys() - {Channel.KAKAO} == {Channel.PUSH, Channel.EMAIL}
    assert (Channel.KAKAO in statuses) == facts.reach[Channel.KAKAO].on
    assert set(statuses.values()) <= FINAL
    assert len(story.suppressed) <= len(CHANNELS)


@given(first_facts(), happenings)
def test_property_at_most_one_send_a_channel_when_nothing_fails(
    facts: Facts, happens: dict[str, int]
) -> None:
    story = Story(facts, happens, [])
    while story.step():
        pass
    channels = [channel for channel, _ in story.sends]
    assert sorted(channels) == sorted(set(channels))
    assert channels == [channel for channel in facts.kind.channels if channel in channels]
    assert not {Channel.PUSH, Channel.KAKAO} <= set(channels), "a messenger stands in for a push"


@given(first_facts(), moments)
def test_property_a_live_claim_is_never_taken_by_another(facts: Facts, now: datetime) -> None:
    lease = now + timedelta(seconds=5)
    sent, sending = DeliveryStatus.SENT, DeliveryStatus.SENDING
    for channel in (Channel.PUSH, Channel.EMAIL):
        claimed = [Delivery(Channel.PUSH, sent), Delivery(Channel.EMAIL, sending, lease)]
        if channel is Channel.PUSH:
            claimed = [Delivery(Channel.PUSH, sending, lease)]
        step = next_step(replace(facts, deliveries=claimed), now)
        assert not isinstance(step, Send)


@given(st.integers(-30, 120), st.booleans(), st.booleans())
def test_property_an_urgent_mail_needs_a_minute_and_nobody_who_acknowledged(
    left: int, acknowledged: bool, answered: bool
) -> None:
    now = START + timedelta(seconds=500)
    facts = Facts(
        kind=QUESTION_URGENT,
        created_at=START,
        timers={Channel.PUSH: 30, Channel.EMAIL: 240},
        acknowledged=acknowledged,
        question_status=QuestionStatus.ACTIVE,
        question_answered=answered,
        deadline_at=now + timedelta(seconds=left),
        reach={Channel.EMAIL: Reach(there=True)},
        deliveries=[Delivery(Channel.PUSH, DeliveryStatus.SENT)],
    )
    allowed = left >= 60 and not acknowledged and not answered
    assert isinstance(next_step(facts, now), Send) == allowed


def test_a_kind_on_one_channel_knows_no_other_one() -> None:
    only_mail = Kind("only_mail", channels=(Channel.EMAIL,))
    facts = Facts(
        kind=only_mail,
        created_at=START,
        timers={Channel.EMAIL: 600},
        reach={Channel.EMAIL: Reach(there=True)},
    )
    assert next_step(facts, START) == Wait(START + timedelta(seconds=600), Cause.NOT_DUE)
    due = START + timedelta(seconds=600)
    assert next_step(facts, due) == Send(Channel.EMAIL, Cause.UNSEEN, 600)
    sent = replace(facts, deliveries=[Delivery(Channel.EMAIL, DeliveryStatus.SENT)])
    assert next_step(sent, due) == Done(Cause.SETTLED)


NIGHT = QuietHours(time(20, 0), time(21, 0), ZoneInfo("UTC"))
"""Eleven hours after the start."""

DAY = QuietHours(time(8, 0), time(9, 8), ZoneInfo("UTC"))
"""Until eight minutes after the start."""

MORNING = QuietHours(time(8, 0), time(12, 0), ZoneInfo("UTC"))
PUSH_SENT = [Delivery(Channel.PUSH, DeliveryStatus.SENT)]
PUSH, EMAIL = Channel.PUSH, Channel.EMAIL


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("kind", "wishes", "after_s", "step"),
    [
        (QUESTION_URGENT, {}, 0, Send(PUSH, Cause.NO_LIVE_SOCKET)),
        (QUESTION_URGENT, {"blocked": True}, 0, Suppress(PUSH, Reason.BLOCKED)),
        (QUESTION_URGENT, {"blocked": True, "topic_on": False}, 0, Suppress(PUSH, Reason.BLOCKED)),
        (QUESTION_URGENT, {"topic_on": False}, 0, Suppress(PUSH, Reason.TOPIC_OFF)),
        (QUESTION_URGENT, {"muted": True}, 0, Suppress(PUSH, Reason.MUTED)),
        (QUESTION_URGENT, {"outside_radius": True}, 0, Suppress(PUSH, Reason.OUTSIDE_RADIUS)),
        (QUESTION_URGENT, {"reach": {PUSH: Reach(on=False, there=True)}}, 0,
         Suppress(PUSH, Reason.CHANNEL_OFF)),
        (QUESTION_URGENT, {"capped": True}, 0, Suppress(PUSH, Reason.CAP_PERSON)),
        (QUESTION_URGENT, {"pause_until": at(1)}, 0, Suppress(PUSH, Reason.CAP_PERSON)),
        (QUESTION_URGENT, {"pause_until": at(1)}, 1, Send(PUSH, Cause.NO_LIVE_SOCKET)),
        # the pause is the phone's: a mail does not ring
        (QUESTION_URGENT, {"pause_until": at(600), "deliveries": PUSH_SENT}, 240,
         Send(EMAIL, Cause.UNACKNOWLEDGED, 240)),
        (QUESTION_URGENT, {"capped": True, "deliveries": PUSH_SENT}, 240,
         Suppress(EMAIL, Reason.CAP_PERSON)),
        # caps are looked at when the time has come, and so is the clock on the wall
        (QUESTION_URGENT, {"capped": True, "had_socket": True}, 0,
         Wait(at(30), Cause.SOCKET_TOLD)),
        (QUESTION_URGENT, {"quiet": MORNING, "had_socket": True}, 0,
         Wait(at(30), Cause.SOCKET_TOLD)),
        (QUESTION_URGENT, {"quiet": MORNING}, 0, Suppress(PUSH, Reason.QUIET_HOURS)),
        (QUESTION_URGENT, {"quiet": NIGHT}, 0, Send(PUSH, Cause.NO_LIVE_SOCKET)),
        (QUESTION_URGENT, {"quiet": MORNING, "deliveries": PUSH_SENT}, 240,
         Suppress(EMAIL, Reason.QUIET_HOURS)),
        (QUESTION_URGENT, {"quiet": DAY, "deliveries": PUSH_SENT}, 240,
         Wait(at(480), Cause.QUIET_NOW)),
        # what is not urgent: no phone rings, the mail comes when quiet is over
        (ANSWER_CREATED, {"quiet": MORNING}, 0, Suppress(PUSH, Reason.QUIET_HOURS)),
        (ANSWER_CREATED, {"quiet": MORNING, "deliveries": PUSH_SENT}, 600,
         Wait(at(3 * 3600), Cause.QUIET_NOW)),
        (ANSWER_CREATED, {"quiet": MORNING, "deliveries": PUSH_SENT, "deadline_at": at(3600)}, 600,
         Suppress(EMAIL, Reason.QUIET_HOURS)),
        (DIGEST, {"quiet": MORNING}, 0, Wait(at(3 * 3600), Cause.QUIET_NOW)),
        (DIGEST, {"topic_on": False}, 0, Suppress(EMAIL, Reason.TOPIC_OFF)),
    ],
)  # fmt: skip
def test_preferences_decide(kind: Kind, wishes: dict[str, Any], after_s: int, step: Step) -> None:
    urgent_s, personal_s = {PUSH: 30, EMAIL: 240}, {PUSH: 60, EMAIL: 600}
    facts = Facts(
        kind=kind,
        created_at=START,
        timers=urgent_s if kind.urgent else {PUSH: 0, EMAIL: 0} if kind is DIGEST else personal_s,
        deadline_at=at(600) if kind.urgent else None,
        reach={PUSH: Reach(there=True), EMAIL: Reach(there=True)},
    )
    assert next_step(replace(facts, **wishes), at(after_s)) == step


def test_a_digest_goes_at_once_and_by_mail_alone() -> None:
    facts = Facts(
        kind=DIGEST,
        created_at=START,
        timers={Channel.EMAIL: 0},
        reach={Channel.EMAIL: Reach(there=True)},
    )
    assert next_step(facts, START) == Send(Channel.EMAIL, Cause.UNSEEN, 0)
    off = replace(facts, topic_on=False)
    assert next_step(off, START) == Suppress(Channel.EMAIL, Reason.TOPIC_OFF)


def test_the_order_of_the_channels_is_the_kinds() -> None:
    turned = Kind("turned", channels=(Channel.EMAIL, Channel.PUSH))
    facts = Facts(
        kind=turned,
        created_at=START,
        timers={Channel.PUSH: 60, Channel.EMAIL: 600},
        reach={Channel.EMAIL: Reach(there=True), Channel.PUSH: Reach(there=True)},
    )
    assert isinstance(next_step(facts, START), Wait), "the mail's time comes first"
    mailed = replace(facts, deliveries=[Delivery(Channel.EMAIL, DeliveryStatus.SENT)])
    assert next_step(mailed, START) == Send(Channel.PUSH, Cause.NO_LIVE_SOCKET)
