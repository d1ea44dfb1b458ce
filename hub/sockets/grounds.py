"""Why a socket is in its rooms. Pure: whatever happens makes new grounds of the old ones, and
`hub.sockets.rooms.fit` alone makes a socket's rooms what its grounds say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from hub.domain.rooms import ASKABLE
from protocol.names import room_kind


@dataclass(frozen=True, slots=True)
class Grounds:
    """`automatic` rooms follow from who the person is, where, and what they prefer; `asked` are
    those the client joined, `ordered` those that another server put the socket into. `claimed` are
    rooms of a session come back to, until it is found out which of them are still open: the socket
    is not in them yet, and its session keeps them.
    """

    automatic: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    ordered: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms a socket must be in."""
        return tuple(dict.fromkeys((*self.automatic, *self.asked, *self.ordered)))

    def found(self, automatic: tuple[str, ...], still_open: Iterable[str]) -> "Grounds":
        """It is known which rooms are automatic now, and which of the claimed ones are open."""
        others = [room for room in still_open if room not in automatic]
        return Grounds(
            automatic,
            _with(self.asked, (room for room in others if _is_askable(room))),
            _with(self.ordered, (room for room in others if not _is_askable(room))),
        )

    def trusted(self) -> "Grounds":
        """Nobody can say now what is open: the socket is where it was, and looked after later."""
        return replace(self, automatic=_with(self.automatic, self.claimed))

    def moved(self, join: Iterable[str], leave: Iterable[str]) -> "Grounds":
        """The person has other automatic rooms; what the client asked for itself outlasts that."""
        gone = tuple(leave)
        kept = (room for room in self.claimed if room not in gone or _is_askable(room))
        return replace(
            self, automatic=_with(_without(self.automatic, gone), join), claimed=tuple(kept)
        )

    def ordered_by_another(self, join: Iterable[str], leave: Iterable[str]) -> "Grounds":
        """Another server's word goes over every ground of ours."""
        left = self.without(leave)
        return replace(left, ordered=_with(left.ordered, join))

    def without(self, rooms: Iterable[str]) -> "Grounds":
        """Out of these rooms, whatever they are."""
        gone = tuple(rooms)
        return Grounds(
            _without(self.automatic, gone),
            _without(self.asked, gone),
            _without(self.ordered, gone),
            _without(self.claimed, gone),
        )

    def asking(self, room: str) -> "Grounds":
        return replace(self, asked=_with(self.asked, (room,)))

    def not_asking(self, room: str) -> "Grounds":
        return replace(self, asked=_without(self.asked, (room,)))


NO_GROUNDS: Final = Grounds()


def _is_askable(room: str) -> bool:
    return room_kind(room) in ASKABLE


def _with(rooms: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*rooms, *more)))


def _without(rooms: tuple[str, ...], gone: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(room for room in rooms if room not in gone)
