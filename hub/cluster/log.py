"""Reading the logs: what was published to rooms after a position."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.cluster import scripts
from hub.cluster.emitter import LogLimits
from hub.cluster.line import Line
from protocol.names import Keys

LogName = tuple[str, str | None]
"""Namespace and room; no room: the namespace's wide log."""

BATCH = 200
"""Logs read in one call."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`before` is the offset of the log's entry before this one, trimmed or not."""

    offset: str
    before: str
    message: bytes

    @property
    def payload(self) -> bytes:
        """As it was published."""
        return self.message + self.offset.encode()


@dataclass(frozen=True, slots=True)
class Reading:
    """Entries after the positions asked for, and where the log stood then."""

    offset: str
    entries: dict[LogName, list[Entry]]


def trimmed(entries: list[Entry], since: str) -> bool:
    """True when something after `since` is no longer in the log these entries were read from."""
    return bool(entries) and entries[0].before > since


def merged(readings: Mapping[LogName, list[Entry]]) -> dict[str, Entry]:
    """Each event once (one to several rooms stands in several logs), oldest first, by offset."""
    unique = {entry.offset: entry for entries in readings.values() for entry in entries}
    return dict(sorted(unique.items()))


class Log:
    def __init__(self, line: Line, keys: Keys, limits: LogLimits):
        self._line = line
        self._keys = keys
        self.limit = limits.events

    async def read(self, since: Mapping[LogName, str], channel: str) -> Reading:
        """Reads at most `limit` + 1 entries of each log after its position, BATCH logs at one
        moment, and publishes with each batch where the log then stood on `channel`: what comes
        later arrives there after it. Raises redis.exceptions.RedisError.
        """
        names = list(since)
        found: dict[LogName, list[Entry]] = {}
        offset = ""
        for start in range(0, max(len(names), 1), BATCH):
            batch = names[start : start + BATCH]
            answer = await self._line.run(
                scripts.LOG_READ,
                [self._keys.epoch, *(self._key(name) for name in batch)],
                [
                    self._line.tell,
                    channel,
                    "read",
                    self.limit + 1,
                    *(since[name] for name in batch),
                ],
            )
            offset = answer[0].decode()
            found |= {batch[place]: [_entry(raw) for raw in raws] for place, raws in answer[1:]}
        return Reading(offset, found)

    def _key(self, name: LogName) -> str:
        namespace, room = name
        if room is None:
            return self._keys.wide_log(namespace)
        return self._keys.room_log(namespace, room)


def _entry(raw: list[Any]) -> Entry:
    id_, (_, before, _, message) = raw
    return Entry(_padded(id_), _padded(before), message)


def _padded(id_: bytes) -> str:
    """Redis writes stream ids without the zeros that make offsets comparable as text."""
    epoch, _, number = id_.decode().partition("-")
    return f"{epoch}-{number:0>12}"
