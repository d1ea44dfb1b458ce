"""What a client that comes back has missed: all of it, or an honest refusal. No I/O."""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final

from hub.cluster.log import LogName, Reading, merged, trimmed
from hub.cluster.sessions import Session
from protocol.redis_wire import Broadcast, WireError, decode_broadcast

_OFFSET: Final = re.compile(r"[0-9]{13}-[0-9]{12}")


class Refusal(StrEnum):
    """Why a client is told `recovered: false` and fetches anew."""

    UNKNOWN = "unknown"
    """No such session, or another person's."""
    MALFORMED = "malformed"
    """The offset is none of ours."""
    EPOCH = "epoch"
    """Redis began anew since."""
    AHEAD = "ahead"
    """An offset nobody was given yet."""
    TRIMMED = "trimmed"
    """A log no longer reaches back."""
    TOO_MANY = "too_many"
    """More events than one log keeps."""
    UNREADABLE = "unreadable"
    """The log holds what stock clients cannot decode, or was tampered with."""
    STUCK = "stuck"
    """Replays from where the client stands have ended before it had any of their events."""


TRIES: Final = 2
"""Replays from one position that may end before the client has moved on."""


def position(session: Session, offset: Any) -> str | Refusal:
    """Where the client stands. It owns its position; without one it has seen nothing since the
    session began. A client keeps the offset of an older session until its next numbered event.
    """
    if offset is None:
        return session.at
    if not isinstance(offset, str) or not _OFFSET.fullmatch(offset):
        return Refusal.MALFORMED
    return max(offset, session.at)


def positions(session: Session, since: str, rooms: Collection[str]) -> dict[LogName, str]:
    """The logs to read, each from where the client stands or from when it joined."""
    namespace = session.namespace
    wanted: dict[LogName, str] = {(namespace, None): since, (namespace, session.sid): since}
    for room in rooms:
        wanted[namespace, room] = max(since, session.rooms.get(room, since))
    return wanted


def plan(
    wanted: Mapping[LogName, str], session: Session, since: str, reading: Reading, limit: int
) -> list[Broadcast] | Refusal:
    """The events to replay, in order."""
    if _epoch(since) != _epoch(reading.offset):
        return Refusal.EPOCH
    if since > reading.offset:
        return Refusal.AHEAD
    if any(trimmed(entries, wanted[name]) for name, entries in reading.entries.items()):
        return Refusal.TRIMMED
    missed = merged(reading.entries)
    if len(missed) > limit:
        return Refusal.TOO_MANY
    joined = {room: joined_at for (_, room), joined_at in wanted.items() if room is not None}
    try:
        broadcasts = [decode_broadcast(entry.payload) for entry in missed.values()]
    except WireError:
        return Refusal.UNREADABLE
    events = [broadcast for broadcast in broadcasts if _is_for(broadcast, joined)]
    if events and session.tried[0] == since and session.tried[1] >= TRIES:
        return Refusal.STUCK
    return events


def _is_for(broadcast: Broadcast, joined: Mapping[str, str]) -> bool:
    """Whether somebody who joined rooms at these positions was meant."""
    offset = broadcast.offset
    if any(joined.get(room, offset) < offset for room in broadcast.except_rooms):
        return False
    rooms = broadcast.rooms
    return not rooms or any(joined.get(room, offset) < offset for room in rooms)


def _epoch(offset: str) -> str:
    return offset.partition("-")[0]
