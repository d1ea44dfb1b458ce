"""What the hub publishes: an event on its way to rooms, a person's sockets that move, and tokens
that are worth nothing any more.
"""

from typing import Any

import msgspec

from protocol.events.row import Class
from protocol.names import MAIN


class Emit(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to rooms of one namespace; stored in the outbox as msgpack.

    `deadline` (epoch seconds): past it the emit is dropped and counted. `key` names what a newer
    volatile event replaces. `trace` names the work that caused it, where that is recorded.
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
    trace: str = ""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """All sockets of `room` on all nodes join and leave rooms (a person's position, say).

    Without `keep_asked` they leave also what their clients asked for, and stored sessions do too.
    """

    room: str
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    namespace: str = MAIN
    keep_asked: bool = True


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """Access tokens that are worth nothing any more: those of a person that were issued before
    `before_ms` (epoch, with its fraction), and those numbered. Sockets that came in with one are
    told `reason` and cut on all nodes. `ttl_s`: how long any of them could still have lived.
    """

    reason: str
    ttl_s: int
    user_id: str = ""
    before_ms: float = 0.0
    jtis: tuple[str, ...] = ()

    def covers(self, user_id: str, issued_at: float, jti: str) -> bool:
        """Whether a token of that person, second of issue and number is one of them."""
        if jti and jti in self.jtis:
            return True
        return user_id == self.user_id and issued_at * 1000 < self.before_ms
