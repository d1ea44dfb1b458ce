"""One try of a job, and how it ends: one word for handlers, for the queue and for its figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from hub.plumbing.life.waiting import backoff_s
from hub.plumbing.settings.product import Jobs
from hub.plumbing.stores import postgres, redis_client
from protocol.errors import Code, HubError

_AWAY: Final = (
    *(kind for kind in (*postgres.AWAY, *redis_client.AWAY) if kind is not OSError),
    ConnectionError,
)
"""A file that is missing is an OSError, too, and does not come back by waiting."""


class Attempt(Struct, frozen=True):
    """`number` counts from 1 to `most`; `made_at` is when the job was enqueued.

    `retry_s`: how long to wait before the next one. `again`: the job was held as a dead letter and
    put back.
    """

    number: int
    most: int
    made_at: datetime
    retry_s: float
    again: bool = False

    @property
    def last(self) -> bool:
        return self.number >= self.most


@dataclass(frozen=True, slots=True)
class Done:
    """There is nothing more to do; `expired`: because it was too late for all of it. `asked`:
    whether a provider was."""

    word: Literal["done", "expired"] = "done"
    asked: bool = True


UNASKED: Final = Done(asked=False)
"""There was nothing to ask a provider for."""


@dataclass(frozen=True, slots=True)
class Again:
    """Everything is recorded, and the job is to run again after `seconds`.

    `counts`: whether a try is used up; it is not where nothing could be tried.
    """

    seconds: float
    why: str
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Held:
    """The last try failed, or no other one can pass: the job is kept as a dead letter."""

    why: str


Ending = Done | Again | Held


def ending_of(parts: Iterable[Ending]) -> Ending:
    """Of a job with several parts: while one is to run again the whole job is, after the longest
    of their waits; otherwise it is held for one that failed, and expired only if all were late."""
    parts = list(parts)
    again = [part for part in parts if isinstance(part, Again)]
    if again:
        longest = max(again, key=lambda part: part.seconds)
        return Again(longest.seconds, longest.why, any(part.counts for part in again))
    held = next((part for part in parts if isinstance(part, Held)), None)
    if held is not None:
        return held
    done = [part for part in parts if isinstance(part, Done)]
    expired = bool(done) and all(part.word == "expired" for part in done)
    return Done("expired" if expired else "done", asked=any(part.asked for part in done))


def retry_s(figures: Jobs, number: int) -> float:
    """Seconds after try `number`: RETRY_DELAY × RETRY_FACTOR …, RETRY_MAX_DELAY at most."""
    first_s, longest_s = figures.retry_delay_ms / 1000, figures.retry_max_delay_ms / 1000
    return backoff_s(number, first_s, longest_s, factor=figures.retry_factor)


def is_away(error: Exception) -> bool:
    """Whether it says that Postgres or Redis is away, and nothing about the job."""
    if isinstance(error, HubError):
        return error.code is Code.UNAVAILABLE
    return isinstance(error, _AWAY)
