"""The person on a socket, and what this node knows of them."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Final

from hub.cluster.sessions import Session
from hub.engine import Member
from hub.sockets.grounds import NO_GROUNDS, Grounds
from protocol.names import HIDDEN_ROOMS, room_kind
from protocol.tokens import Token

EXPIRING: Final = 1
EXPIRED: Final = 2
OVER: Final = 3
"""What happens next to a socket for its token: it is told of the end, told that it has come, and
closed."""


@dataclass(slots=True, eq=False)
class Guest:
    """The person on a socket.

    `access` is the token it came in with, or the last one it was renewed with; `step` says what
    happens next to it, in slot `expiry` of the wheel. `token` names the connection on this node.
    `grounds` say which rooms the socket must be in;
    `counted` are those where it makes its person one of the people there. `moved` says that the
    grounds changed while they were being found out, `behind` that the session could not be told of
    a change: whoever comes back to it would be in wrong rooms. `left` ends when no trace of the
    socket is left. `refused` counts refused events since `refused_since` (monotonic).
    `untold` are rooms of places whose open questions could not be told it yet.
    """

    access: Token
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    grounds: Grounds = NO_GROUNDS
    counted: tuple[str, ...] = ()
    session: Session | None = None
    moved: bool = False
    behind: bool = False
    leaving: bool = False
    untold: tuple[str, ...] = ()
    step: int = EXPIRING
    expiry: int = 0
    refused: int = 0
    refused_since: float = 0.0
    left: asyncio.Future[None] | None = None

    @property
    def user_id(self) -> str:
        return self.access.user_id


def guest_of(member: Member) -> Guest:
    guest = member.data
    assert isinstance(guest, Guest)
    return guest


def left_of(guest: Guest) -> asyncio.Future[None]:
    """Ends when no trace of the socket is left."""
    if guest.left is None:
        guest.left = asyncio.get_running_loop().create_future()
    return guest.left


def visible(member: Member) -> tuple[str, ...]:
    """The rooms a socket may be told of: those of places stay with the server."""
    names = (str(name) for name in member.room_names)
    return tuple(name for name in names if room_kind(name) not in HIDDEN_ROOMS)
