"""What the hub publishes: an event on its way to rooms, and a person's sockets that move."""

from typing import Any

import msgspec

from protocol.events.row import Class
from protocol.names import MAIN


class Emit(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to rooms of one namespace; stored in the outbox as msgpack.

    `deadline` (epoch seconds): past it the emit is dropped and counted. `key` names what a newer
    volatile event replaces.
    """

    id: str
    event: str
    rooms: tuple[str, ...]
    data: dict[str, Any]
    namespace: str = MAIN
    except_rooms: tuple[str, ...] = ()
    klass: Class = "room"
    key: str = ""
    deadline: float | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """All sockets of `room` on all nodes join and leave rooms (a person's position, say)."""

    room: str
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    namespace: str = MAIN
