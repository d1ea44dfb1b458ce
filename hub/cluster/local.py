"""What the cluster asks of the sockets of its own node."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from protocol.events import Revocation
from protocol.redis_requests import RemoteSocket
from protocol.redis_wire import Broadcast

Rooms = tuple[str, ...]
"""Selects sockets that are in any of them; none: all of the namespace. A sid is a room."""


class Local(Protocol):
    """Everything is synchronous and about this node alone; whatever takes longer is started.

    What a method raises is counted and logged by the cluster, never sent on.
    """

    def deliver(self, broadcast: Broadcast) -> None:
        """To the sockets it selects. Numbered events come in the order of their offsets, each
        once; sockets whose replay has covered an offset never see it here again.
        """

    def ask(self, broadcast: Broadcast, timeout: float, answer: Callable[[list[Any]], None]) -> int:
        """Sends it with an ack (`timeout` in s, positive and bounded). Returns to how many sockets;
        `answer` gets the arguments of each ack, after this has returned.
        """

    def sockets(self, namespace: str, rooms: Rooms, except_rooms: Rooms) -> list[RemoteSocket]:
        """The sockets selected, tokens and cookies left out."""

    def rooms(self, namespace: str) -> Iterable[str]:
        """All rooms with members here, sids included."""

    def join(
        self,
        namespace: str,
        rooms: Rooms,
        except_rooms: Rooms,
        into: Rooms,
        *,
        keep_asked: bool = False,
    ) -> None:
        """The sockets selected join rooms; with `keep_asked` because of the hub's own move."""

    def leave(
        self,
        namespace: str,
        rooms: Rooms,
        except_rooms: Rooms,
        out_of: Rooms,
        *,
        keep_asked: bool = False,
    ) -> None:
        """The sockets selected leave rooms; with `keep_asked` not those that their clients asked
        for.
        """

    def disconnect(self, namespace: str, rooms: Rooms, except_rooms: Rooms, close: bool) -> None:
        """The sockets selected leave the namespace; with `close` their transports end."""

    def revoke(self, revocation: Revocation) -> None:
        """Sockets that came in with one of these tokens are told so and cut, in all namespaces."""

    def serve(
        self, namespace: str, args: Sequence[Any], answer: Callable[[Any], None] | None
    ) -> None:
        """An event another server sent to servers; `answer`, where wanted, may be called once."""

    def lost(self, namespace: str, rooms: Rooms) -> None:
        """These members missed something that no log holds any more (no rooms: everybody): their
        transports are closed, so that they come back and learn it.
        """

    def evict(self, owner: str) -> None:
        """The session of this connection (`node token`) was taken over: close its transport."""
