"""Coming and going: CONNECT, with the hook and the handler that may refuse it, and leaving."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping
from typing import Any

import socketio
import structlog
from socketio.exceptions import ConnectionRefusedError as Refused

from hub.engine.face.calls import Calls
from hub.engine.face.hooks import Hooks, Unavailable
from hub.engine.rooms.member import GONE, HELD, LEAVING, Member, Party
from hub.engine.rooms.namespace import Namespaces
from hub.engine.session import reasons
from hub.engine.session.book import Book
from hub.engine.session.link import Link
from hub.engine.session.telemetry import count
from hub.engine.wire.packets import CONNECT, CONNECT_ERROR, BadPacket, encode

MAX_CLAIM = 64

log = structlog.get_logger(__name__)


class Admission:
    """Of all sessions of one engine."""

    def __init__(
        self, server: socketio.AsyncServer, namespaces: Namespaces, hooks: Hooks, book: Book
    ) -> None:
        self._namespaces = namespaces
        self._hooks = hooks
        self._book = book
        self.options = book.options
        self.calls = Calls(server, hooks, book.counters, self._gone)

    def connect(self, party: Party, name: str, auth: Any) -> None:
        """A client asks to be in a namespace. Raises BadPacket when it is there."""
        if not self.calls.serves(name):
            self.refuse(party.link, name, {"message": "Invalid namespace"})
            return
        if party.member(name) is not None:
            raise BadPacket("connected_twice")
        space = self._namespaces[name]
        member = Member(self._book.new_id(), party, space)
        space.expect(member)
        party.add(member)
        if auth:
            member.pid = _claim(auth.pop("pid", None))
            member.offset = _claim(auth.pop("offset", None))
            member.recovery = auth.get("recovery") is not False
        self._settle(member, auth or None)

    def _settle(self, member: Member, auth: Any) -> None:
        """At once when hook and handler are plain functions, else in the member's queue; one
        CONNECT of a session at a time, also after the member of the one before has left."""
        before = member.party.admitting
        if before is not None:
            self._in_turn(member, self._settle_after(member, auth, before))
            return
        hook = self._hooks.admit
        try:
            extra = hook(member, auth) if hook is not None else None
            if extra is not None and inspect.isawaitable(extra):
                self._in_turn(member, self._settle_later(member, auth, extra, None))
                return
            verdict = self.calls.connect(member, auth)
            if verdict is not None and inspect.isawaitable(verdict):
                self._in_turn(member, self._settle_later(member, auth, extra, verdict))
                return
            self._accept(member, verdict, extra)
        except Exception as error:
            self._connect_failed(member, error)

    def _in_turn(self, member: Member, work: Coroutine[Any, Any, None]) -> None:
        party = member.party
        done = party.admitting = asyncio.get_running_loop().create_future()

        async def admit() -> None:
            try:
                await work
            finally:
                done.set_result(None)
                if party.admitting is done:
                    party.admitting = None

        self.calls.begin(member, admit())

    async def _settle_after(self, member: Member, auth: Any, before: asyncio.Future[None]) -> None:
        await before
        if member.state != HELD:
            return
        hook = self._hooks.admit
        try:
            extra = hook(member, auth) if hook is not None else None
            verdict = None
            if extra is None or not inspect.isawaitable(extra):
                verdict = self.calls.connect(member, auth)
        except Exception as error:
            self._connect_failed(member, error)
            return
        await self._settle_later(member, auth, extra, verdict)

    async def _settle_later(self, member: Member, auth: Any, extra: Any, verdict: Any) -> None:
        try:
            if extra is not None and inspect.isawaitable(extra):
                extra = await extra
                if member.state != HELD:
                    return
                verdict = self.calls.connect(member, auth)
            if verdict is not None and inspect.isawaitable(verdict):
                verdict = await verdict
            self._accept(member, verdict, extra)
        except Exception as error:
            self._connect_failed(member, error)

    def _accept(self, member: Member, verdict: Any, extra: Mapping[str, Any] | None) -> None:
        if member.state != HELD:  # it left meanwhile
            return
        if verdict is False:
            raise Refused
        member.link.met_deadline()
        reply = {"sid": member.sid, **extra} if extra else {"sid": member.sid}
        member.send(CONNECT, None, reply)
        member.namespace.admit(member)

    def _connect_failed(self, member: Member, error: Exception) -> None:
        if member.state != HELD:
            return
        link, name = member.link, member.namespace.name
        if isinstance(error, Unavailable):
            count(self._book.counters.refused, "unavailable")
            link.end(reasons.SHUTTING_DOWN)
            return
        if isinstance(error, Refused):
            reason = error.error_args
        elif isinstance(error, ConnectionRefusedError):
            reason = {"message": "Connection refused by server"}
        else:
            log.error("a connect handler failed", exc_info=error)
            reason = {"message": "Internal error"}
        self.leave(member, reasons.REFUSED)
        self.refuse(link, name, reason)

    def refuse(self, link: Link, namespace: str, data: Any) -> None:
        count(self._book.counters.refused, "connect_error")
        link.send_parts(encode(link.codec, CONNECT_ERROR, namespace, None, data))

    # Leaving.

    def closed(self, party: Party, reason: str) -> None:
        """The session's transport is gone."""
        link = party.link
        self.calls.closed(link, reason)
        if self._hooks.ended is not None:
            self._hooks.ended(link.address, reason)
        for member in party.members:
            self.leave(member, reason)
        if not party.leaving:
            link.forget()

    def leave(self, member: Member, reason: str) -> None:
        """Out of all deliveries at once; its disconnect handler runs after what it has sent
        before, and finds its rooms and session."""
        if member.state >= LEAVING:
            return
        held = member.state == HELD
        member.party.drop(member)
        member.namespace.silence(member)
        member.state = LEAVING
        member.hold = None
        if held:  # its connect handler did not accept it: it hears of no disconnect
            self._gone(member)
        else:
            self.calls.leave(member, reason)

    def _gone(self, member: Member) -> None:
        member.state = GONE
        member.namespace.remove(member)
        member.callbacks = None
        party, link = member.party, member.link
        party.leaving -= 1
        if link.over:
            if not (party.members or party.leaving):
                link.forget()
        elif not any(other.connected for other in party.members):
            link.expect_connect()


def _claim(value: Any) -> str | None:
    """pid and offset are the client's word, of any JSON type and size; none of ours holds more
    than ASCII."""
    is_one = isinstance(value, str) and value.isascii() and 0 < len(value) <= MAX_CLAIM
    return value if is_one else None
