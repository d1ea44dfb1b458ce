"""Two tables: the kinds of notifications, and the channels that carry them.

A new kind is one row of KINDS (and its sentences in protocol.texts); a new channel is one row of
CHANNELS, a name in the kinds that use it, and a folder of senders in `workers`. APNs, FCM and Web
Push are providers of one channel, push: a device's platform chooses among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Literal


class Channel(StrEnum):
    SOCKET = "socket"
    """Told by an emit; a row says only that the person had a live socket when they were told."""

    PUSH = "push"
    KAKAO = "kakao"
    EMAIL = "email"


class Needs(StrEnum):
    """What a person must have for a channel to reach them."""

    DEVICE = "device"
    ADDRESS = "address"
    MESSENGER = "messenger"
    """A key that the messenger knows them by."""


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """How a channel behaves, whatever provider carries it.

    `only_a_live_socket_delays`: it goes at once to whoever had no live socket; otherwise, and on
    every other channel, at its timer. `ended_by_acknowledgement`: for every kind; what is urgent
    is ended on every channel. `least_left`: of the time until the deadline of an urgent one.
    `rings`: a phone makes a noise, so it has a pause of its own, and what quiet hours withhold is
    withheld for good; what does not ring waits until they are over.
    `stands_in_for`: sent only to whom that channel did not get. `optional`: nothing is written
    about it where the person has not switched it on.
    """

    channel: Channel
    needs: Needs
    only_a_live_socket_delays: bool
    ended_by_acknowledgement: bool
    rings: bool
    least_left: timedelta = timedelta(0)
    stands_in_for: Channel | None = None
    optional: bool = False


CHANNELS: Final[Mapping[Channel, ChannelRow]] = {
    row.channel: row
    for row in (
        ChannelRow(
            Channel.PUSH,
            Needs.DEVICE,
            only_a_live_socket_delays=True,
            ended_by_acknowledgement=True,
            rings=True,
        ),
        ChannelRow(
            Channel.KAKAO,
            Needs.MESSENGER,
            only_a_live_socket_delays=True,
            ended_by_acknowledgement=True,
            rings=True,
            stands_in_for=Channel.PUSH,
            optional=True,
        ),
        ChannelRow(
            Channel.EMAIL,
            Needs.ADDRESS,
            only_a_live_socket_delays=False,
            ended_by_acknowledgement=False,
            rings=False,
            least_left=timedelta(seconds=60),
        ),
    )
}

Priority = Literal["high", "medium", "low"]


class Topic(StrEnum):
    """What a person can switch off; a kind without a topic always may come."""

    URGENT = "urgent"
    ANSWER = "answer"
    DIGEST = "digest"


class Pace(StrEnum):
    """Which of the settings' timers hold (UNSEEN_PUSH_URGENT … or UNSEEN_PUSH …)."""

    URGENT = "urgent"
    PERSONAL = "personal"
    AT_ONCE = "at_once"
    """None: nobody has seen it before."""


Timers = Mapping[Channel, int]
"""Seconds from the notification to each channel; 0 on one that waits anyway = never."""


class Collapse(StrEnum):
    """What replaces what on a phone's screen."""

    QUESTION = "question"
    """The notifications about one question replace each other."""

    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of notification. `channels` are tried in this order, each after the one before it
    is settled. `announce`: also told as `notification:new` on the person's sockets. `bulk`: one of
    many that nobody waits for, so it stands behind all that is about one person.
    """

    name: str
    topic: Topic | None = None
    pace: Pace = Pace.PERSONAL
    priority: Priority = "medium"
    announce: bool = False
    collapse: Collapse = Collapse.NOTHING
    channels: tuple[Channel, ...] = (Channel.PUSH, Channel.KAKAO, Channel.EMAIL)
    bulk: bool = False

    @property
    def urgent(self) -> bool:
        """It has a deadline of its question's, and overtakes what has none."""
        return self.pace is Pace.URGENT


QUESTION_URGENT: Final = Kind(
    "question_urgent",
    topic=Topic.URGENT,
    pace=Pace.URGENT,
    priority="high",
    collapse=Collapse.QUESTION,
)
ANSWER_CREATED: Final = Kind("answer_created", topic=Topic.ANSWER, priority="high")
ANSWER_ACCEPTED: Final = Kind("answer_accepted", topic=Topic.ANSWER)
WELCOME: Final = Kind("welcome", priority="low", announce=True)
DIGEST: Final = Kind(
    "digest",
    topic=Topic.DIGEST,
    pace=Pace.AT_ONCE,
    priority="low",
    channels=(Channel.EMAIL,),
    bulk=True,
)
OTHER: Final = Kind("other", announce=True)
"""What services tell under names of their own."""

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind for kind in (QUESTION_URGENT, ANSWER_CREATED, ANSWER_ACCEPTED, WELCOME, DIGEST)
}


def kind_of(name: str) -> Kind:
    """Our own kind of this name, or the row that holds for all names of services."""
    return KINDS.get(name, OTHER)
