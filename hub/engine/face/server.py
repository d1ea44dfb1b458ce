"""The Socket.IO server: python-socketio's face over our own connections.

Handlers are attached as the library's users know it; rooms, sessions, acknowledgements,
namespace classes and `instrument()` work as theirs. Beside them stand the plain local calls
that a cluster needs: deliver, member, rename, kick, cut.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import socketio
from aiohttp import web

from hub.engine.face.admission import Admission
from hub.engine.face.conversation import Conversation
from hub.engine.face.hooks import Hooks
from hub.engine.face.manager import Manager
from hub.engine.rooms.member import HELD, LEAVING, Member, members_of
from hub.engine.rooms.namespace import Namespaces
from hub.engine.session import reasons
from hub.engine.session.book import Book
from hub.engine.session.engine import Engine
from hub.engine.session.head import Route
from hub.engine.session.link import Link
from hub.engine.session.listener import Listener
from hub.engine.session.options import Options, Refusal, Refuse
from hub.engine.session.telemetry import EngineCollector
from hub.engine.wire.event import Event
from hub.engine.wire.packets import DEFAULT, DISCONNECT, MSGPACK, encode

DRAIN_STEP_S = 0.05
"""Between two looks at who is due."""

LAST_WORDS_S = 2.0
"""How long a drain waits for the next polls of those who poll."""

CATCH_ALL: Final = object()
"""Where the handlers table holds what is attached for every other event."""


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """`book` has limits and counters, `eio` the sessions, `manager` members and rooms as the
    library asks for them, `hooks` what the application hangs on it beside its handlers."""

    eio: Engine
    manager: Manager

    def __init__(self, options: Options | None = None, **kwargs: Any) -> None:
        self.options = options or Options()
        self.book = Book(self.options)
        self.hooks = Hooks()
        self._namespaces = Namespaces(self.book)
        self._admission = Admission(self, self._namespaces, self.hooks, self.book)
        kwargs.setdefault("logger", logging.getLogger("hub.engine.library"))
        super().__init__(
            client_manager=Manager(self._namespaces, self._admission.leave),
            book=self.book,
            hear=partial(Conversation, self._admission),
            **kwargs,
        )
        self.environ = _Environs(self.eio)
        self._listener: Listener | None = None

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def on(
        self,
        event: str,
        handler: Callable[..., Any] | None = None,
        namespace: str | None = None,
    ) -> Any:
        """As the library's; what is attached as `*` stands under a key no packet can name."""
        return super().on(CATCH_ALL if event == "*" else event, handler, namespace)

    def _get_event_handler(
        self, event: str, namespace: str, args: tuple[Any, ...]
    ) -> tuple[Callable[..., Any] | None, tuple[Any, ...]]:
        """The library's order: the namespace's own handlers before those of any namespace, an
        event's own before those of any event. The library itself takes an event that is named
        `*` for the catch-all and leaves out its name."""
        own, all_ = self.handlers.get(namespace, {}), self.handlers.get("*", {})
        if event in own:
            return own[event], args
        is_free = event not in self.reserved_events
        if is_free and CATCH_ALL in own:
            return own[CATCH_ALL], (event, *args)
        if event in all_:
            return all_[event], (namespace, *args)
        if is_free and CATCH_ALL in all_:
            return all_[CATCH_ALL], (event, namespace, *args)
        return None, args

    # Listening.

    async def listen(
        self,
        host: str | None,
        port: int,
        app: web.Application | None = None,
        *,
        ssl: ssl_module.SSLContext | None = None,
        reuse_port: bool = False,
        engines: Mapping[str, Engine] | None = None,
    ) -> int:
        """Serve Socket.IO at `options.path` (and `msgpack_path`) and `app` for all else on
        one socket; the port bound. `engines` are further Engine.IO end points by path.

        Raises OSError when the address cannot be bound, RuntimeError when it listens already.
        """
        if self._listener is not None:
            raise RuntimeError("this server listens already")
        routes = {self.options.path: Route(self.eio, DEFAULT)}
        if self.options.msgpack_path is not None:
            routes[self.options.msgpack_path] = Route(self.eio, MSGPACK)
        routes |= {path: Route(engine, DEFAULT) for path, engine in (engines or {}).items()}
        self._listener = Listener(routes, app or web.Application())
        return await self._listener.start(host, port, ssl, reuse_port)

    def refuse(self, hook: Refuse | None) -> None:
        """Ask `hook` at each handshake; what it gives is answered 503 with Retry-After."""
        self.book.refuse = hook

    def refuse_new(self, retry_after: int) -> None:
        """From now on every handshake is answered 503, or reaches the other processes of a shared
        port (the node drains)."""
        self.book.draining = Refusal("draining", retry_after)
        if self._listener is not None:
            self._listener.refuse_new()

    async def drain(
        self,
        per_second: float,
        seconds: float,
        tell: Callable[[Member, int], None] | None = None,
    ) -> int:
        """Refuse what is new, tell each member after how many ms its transport will be closed,
        and close them in that order, evenly: `per_second`, or faster where that would take more
        than `seconds`. How many transports there were."""
        self.refuse_new(max(1, round(seconds)))
        links = [link for link in self._links() if not link.over]
        rate = max(per_second, len(links) / seconds)
        if tell is not None:
            for index, link in enumerate(links):
                for member in members_of(link):
                    tell(member, round(index / rate * 1000))
        clock, ended = asyncio.get_running_loop().time, 0
        begin = clock()
        while ended < len(links):
            due = 1 + int((clock() - begin) * rate)  # by the clock: a late loop catches up
            for link in links[ended:due]:
                link.end(reasons.SHUTTING_DOWN)
            ended = due
            await self.sleep(max(1 / rate, DRAIN_STEP_S))
        await self._heard_out()
        return len(links)

    async def _heard_out(self) -> None:
        """Until polling clients have heard the last words, which each hears at its next poll."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                while any(link.unheard for link in self._links()):
                    await self.sleep(0.02)

    def _links(self) -> list[Link]:
        return list(self.eio.sockets.values())

    async def close(self) -> None:
        """Close every transport and the listening socket."""
        if self._listener is not None:
            self._listener.stop_listening()
        for link in self._links():
            link.end(reasons.SHUTTING_DOWN)
        await self.sleep(0)
        if self._listener is not None:
            await self._listener.close()
        self.book.close()

    def collector(self) -> EngineCollector:
        """To be registered with a Prometheus registry."""
        return EngineCollector(self.book.counters, self.live, self.book.waiting_bytes)

    def live(self) -> dict[str, int]:
        """Live members by namespace."""
        return {name: len(space.everyone) for name, space in self._namespaces.items()}

    # Members and events, as plain local calls.

    def member(self, sid: str, namespace: str = "/") -> Member | None:
        """The member of that sid, also while it is held or leaving."""
        return self._namespaces.member(sid, namespace)

    def members(self, namespace: str = "/") -> Iterator[Member]:
        """Live members on this node."""
        space = self._namespaces.get(namespace)
        yield from list(space.everyone) if space is not None else ()

    def select(
        self,
        rooms: Iterable[Hashable] | None,
        excepted: Iterable[Hashable] = (),
        namespace: str = "/",
    ) -> list[Member]:
        """Local members in any of `rooms` (None: all) and in none of `excepted`."""
        space = self._namespaces.get(namespace)
        return list(space.select(rooms, excepted)) if space is not None else []

    def deliver(
        self,
        event: Event,
        rooms: Iterable[Hashable] | None = None,
        excepted: Iterable[Hashable] = (),
    ) -> int:
        """To local members of any of `rooms` (None: the whole namespace) and of none of
        `excepted`; a sid is a room. How many members there were."""
        return self._namespaces.deliver(event, rooms, excepted)

    def on_rooms(
        self,
        opened: Callable[[str, Hashable], None] | None,
        emptied: Callable[[str, Hashable], None] | None,
    ) -> None:
        """Called with namespace and room when a room gets its first local member and loses its
        last."""
        hooks = self._namespaces.hooks
        hooks.opened, hooks.emptied = opened, emptied

    def enter(self, member: Member, *rooms: Hashable) -> None:
        for room in rooms:
            self.manager.basic_enter_room(member.sid, member.namespace.name, room)

    def rename(self, member: Member, sid: str) -> bool:
        """Give a held member the sid it had before; False while another has it that is not
        leaving."""
        members = self._namespaces[member.namespace.name].members
        holder = members.get(sid)
        if member.state != HELD or (holder is not None and holder.state < LEAVING):
            return holder is member
        del members[member.sid]
        member.sid = sid
        members[sid] = member
        return True

    def kick(self, member: Member, reason: str = reasons.SERVER_DISCONNECT) -> None:
        """Say DISCONNECT, which is final for stock clients; the transport closes with its last
        member."""
        if member.state >= LEAVING:
            return
        member.send(DISCONNECT, None, None)
        self._admission.leave(member, reason)
        if not member.party.members:
            member.link.end(reason)

    def cut(self, member: Member, reason: str = reasons.TRANSPORT_CLOSE) -> None:
        """Close the member's transport without a word: the client comes back."""
        member.link.end(reason)

    # The library's, where it would take its own way.

    async def disconnect(
        self, sid: str, namespace: str | None = None, ignore_queue: bool = False
    ) -> None:
        """Unlike the library's it closes the transport too. Twice is nothing."""
        member = self._namespaces.member(sid, namespace or "/")
        if member is not None:
            self.kick(member)

    async def _handle_eio_connect(self, eio_sid: str, environ: Any) -> None:
        """The library keeps books here; `instrument()` calls it from its own handler."""

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        """As above."""

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        link = self.eio.sockets.get(eio_sid)
        if link is None:
            return
        name = pkt.namespace or "/"
        for member in members_of(link):
            if member.namespace.name == name:
                member.send(pkt.packet_type, pkt.id, pkt.data)
                return
        link.send_parts(encode(link.codec, pkt.packet_type, name, pkt.id, pkt.data))


class _Environs(Mapping[str, Any]):
    """The library keeps a dict of environments; here each session has its own."""

    def __init__(self, eio: Engine) -> None:
        self._eio = eio

    def __getitem__(self, eio_sid: str) -> Any:
        return self._eio.sockets[eio_sid].environ

    def __iter__(self) -> Iterator[str]:
        return iter(self._eio.sockets)

    def __len__(self) -> int:
        return len(self._eio.sockets)
