"""What arrives on a session, packet by packet: CONNECT, EVENT, ACK, DISCONNECT.

A packet that the official server cannot read closes the session and is counted. One that it reads
and this one does not take (too deep, say) is answered; neither reaches a handler.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from socketio.exceptions import ConnectionRefusedError as Refused

from . import reasons
from .calls import REFUSED, Calls
from .link import Link
from .packets import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DEFAULT,
    EVENT,
    EXACT_DIGITS,
    MSGPACK,
    TOO_DEEP,
    BadPacket,
    Packet,
    check_name,
    decode,
    decode_msgpack,
    depth_over,
    encode,
    fault_of,
    loads,
    name_of,
    reconstruct,
)
from .rooms import GONE, HELD, LEAVING, Member
from .telemetry import count

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("hub.engine")

MAX_CLAIM = 64
MINUTE = 60.0

EVENT_HEAD = re.compile(rb"42([0-9]{0,%d})(?=\[)" % EXACT_DIGITS)


class Unavailable(Exception):
    """Raised by an admit hook or connect handler where waiting helps: the transport is closed
    and the client comes back."""


class Dispatcher:
    """The server's side of ``engine.App``."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._max_depth = server.options.max_depth
        self._max_attachments = server.options.max_attachments
        self.calls = Calls(server, self._gone)

    # engine.App

    def opened(self, link: Link) -> None:
        server = self._server
        if server.eio.handlers["connect"] != server._handle_eio_connect:  # instrumented
            self.calls.task(server.eio._trigger_event("connect", link.sid, link.environ))

    def closed(self, link: Link, reason: str) -> None:
        server = self._server
        if server.eio.handlers["disconnect"] != server._handle_eio_disconnect:
            self.calls.task(server.eio._trigger_event("disconnect", link.sid, reason))
        if server.ended is not None:
            server.ended(link.address, reason)
        for member in link.members:
            self.leave(member, reason)
        if not link.leaving:
            server.eio.forget(link)

    def text(self, link: Link, payload: bytes) -> None:
        try:
            if link.pending is not None or link.codec != DEFAULT:
                raise BadPacket("unexpected_text")
            head = EVENT_HEAD.match(payload)
            if head is not None:
                self._event(link, payload, head)
            else:
                packet = decode(payload[1:])
                packet.size = len(payload)
                self._bound_depth(payload, packet)
                self._packet(link, packet)
        except BadPacket as error:
            fault = fault_of(payload, str(error))
            if fault == "utf8" and not link.upgraded:  # HTTP has no such rule; Node replaces
                self.text(link, payload.decode(errors="replace").encode())
            else:
                link.reject(fault)

    def binary(self, link: Link, payload: bytes) -> None:
        try:
            if link.codec == MSGPACK:
                packet = decode_msgpack(payload)
                packet.size = len(payload)
                if depth_over(packet.data, self._max_depth):
                    packet.refuse(TOO_DEEP, packet.data[0] if packet.type == EVENT else "")
                self._packet(link, packet)
            else:
                self._attachment(link, payload)
        except BadPacket as fault:
            link.reject(str(fault))

    # packets

    def _event(self, link: Link, payload: bytes, head: re.Match[bytes]) -> None:
        """An EVENT of the main namespace, the packet that comes most."""
        body = payload[head.end() :]
        try:
            args = loads(body)
            check_name(args)
            brackets = payload.count(b"[") + payload.count(b"{")
            if brackets > self._max_depth and depth_over(args, self._max_depth):
                args = [REFUSED, args[0], TOO_DEEP]
        except RecursionError:
            args = [REFUSED, name_of(body), TOO_DEEP]
        number = head[1]
        for member in link.members:
            if member.namespace.name == "/":
                self.calls.event(member, int(number) if number else None, args, len(payload))
                return

    def _bound_depth(self, payload: bytes, packet: Packet) -> None:
        brackets = payload.count(b"[") + payload.count(b"{")
        if brackets > self._max_depth and depth_over(packet.data, self._max_depth):
            is_event = packet.type in (EVENT, BINARY_EVENT)
            packet.refuse(TOO_DEEP, packet.data[0] if is_event else "")

    def _packet(self, link: Link, packet: Packet) -> None:
        kind = packet.type
        if kind == CONNECT:
            self._count_connect(link)
            if packet.fault:
                self._refuse(link, packet.namespace, {"message": "Invalid payload"})
            else:
                self._connect(link, packet.namespace, packet.data)
            return
        member = link.member(packet.namespace)
        if kind in (BINARY_EVENT, BINARY_ACK):
            self._await_attachments(link, member, packet)
        elif member is None:
            return
        elif kind == EVENT:
            if packet.fault:
                refused = [REFUSED, packet.data[0], packet.fault]
                self.calls.event(member, packet.id, refused, packet.size)
            elif packet.data is not None:  # without data there is not even a name
                self.calls.event(member, packet.id, packet.data, packet.size)
        elif kind == ACK:
            if packet.id is not None and not packet.fault:
                self._acknowledged(member, packet)
        else:
            self.leave(member, reasons.CLIENT_DISCONNECT)

    def _await_attachments(self, link: Link, member: Member | None, packet: Packet) -> None:
        if member is None or packet.attachments > self._max_attachments:
            raise BadPacket("attachments")
        link.pending, link.attachments = packet, []
        link.expect_attachments()
        if packet.attachments == 0:
            self._complete(link)

    def _attachment(self, link: Link, payload: bytes) -> None:
        if link.pending is None or link.attachments is None:
            raise BadPacket("unexpected_binary")
        link.pending.size += len(payload)
        if link.pending.size > self._server.options.max_payload:
            raise BadPacket("payload_too_big")
        link.attachments.append(payload)
        if len(link.attachments) == link.pending.attachments:
            self._complete(link)

    def _complete(self, link: Link) -> None:
        packet, attachments = link.pending, link.attachments
        link.pending = link.attachments = None
        link.met_attachments()
        assert packet is not None
        assert attachments is not None
        packet.data = reconstruct(packet.data, attachments)
        packet.type = EVENT if packet.type == BINARY_EVENT else ACK
        self._packet(link, packet)

    def _acknowledged(self, member: Member, packet: Packet) -> None:
        assert packet.id is not None
        try:
            result = self._server.manager.acknowledged(member, packet.id, packet.data or [])
        except Exception as error:
            log.error("callback of an acknowledgement failed", exc_info=error)
            return
        if inspect.isawaitable(result):
            self.calls.task(result)

    # connecting

    def _count_connect(self, link: Link) -> None:
        """Whatever comes of it, a CONNECT is work that 2 bytes begin: a session has a few a minute.
        Raises BadPacket over them."""
        now = asyncio.get_running_loop().time()
        if now - link.connects_since >= MINUTE or not link.connects:
            link.connects, link.connects_since = 0, now
        link.connects += 1
        if link.connects > self._server.options.connects_a_minute:
            raise BadPacket("connects")

    def _connect(self, link: Link, name: str, auth: Any) -> None:
        server = self._server
        if not server.serves(name):
            self._refuse(link, name, {"message": "Invalid namespace"})
            return
        if link.member(name) is not None:
            raise BadPacket("connected_twice")
        space = server.manager.namespace(name)
        member = Member(server.eio.generate_id(), link, space)
        space.expect(member)
        link.members = (*link.members, member)
        if auth:
            member.pid = _claim(auth.pop("pid", None))
            member.offset = _claim(auth.pop("offset", None))
            member.recovery = auth.get("recovery") is not False
        self._settle(member, auth or None)

    def _settle(self, member: Member, auth: Any) -> None:
        """At once when hook and handler are plain functions, else in the member's queue; one
        CONNECT of a session at a time, also after the member of the one before has left."""
        link = member.link
        if link.admitting is not None:
            self._in_turn(member, self._settle_after(member, auth, link.admitting))
            return
        hook = self._server.admit
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
        link = member.link
        done = link.admitting = asyncio.get_running_loop().create_future()

        async def admit() -> None:
            try:
                await work
            finally:
                done.set_result(None)
                if link.admitting is done:
                    link.admitting = None

        self.calls.begin(member, admit())

    async def _settle_after(self, member: Member, auth: Any, before: asyncio.Future[None]) -> None:
        await before
        if member.state != HELD:
            return
        hook = self._server.admit
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
        link = member.link
        link.met_deadline()
        reply = {"sid": member.sid, **extra} if extra else {"sid": member.sid}
        link.send_parts(encode(link.codec, CONNECT, member.namespace.name, None, reply))
        member.namespace.admit(member)

    def _connect_failed(self, member: Member, error: Exception) -> None:
        if member.state != HELD:
            return
        link, name = member.link, member.namespace.name
        if isinstance(error, Unavailable):
            count(self._server.eio.counters.refused, "unavailable")
            link.end(reasons.SHUTTING_DOWN)
            return
        if isinstance(error, Refused):
            reason = error.error_args
        elif isinstance(error, ConnectionRefusedError):
            reason = {"message": "Connection refused by server"}
        else:
            log.error("connect handler failed", exc_info=error)
            reason = {"message": "Internal error"}
        self.leave(member, reasons.REFUSED)
        self._refuse(link, name, reason)

    def _refuse(self, link: Link, namespace: str, data: Any) -> None:
        count(self._server.eio.counters.refused, "connect_error")
        link.send_parts(encode(link.codec, CONNECT_ERROR, namespace, None, data))

    # leaving

    def leave(self, member: Member, reason: str) -> None:
        """Out of all deliveries at once; its disconnect handler runs after what it has sent
        before, and finds its rooms and session."""
        if member.state >= LEAVING:
            return
        held = member.state == HELD
        link = member.link
        link.members = tuple(other for other in link.members if other is not member)
        link.leaving += 1
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
        link = member.link
        link.leaving -= 1
        if link.over:
            if not (link.members or link.leaving):
                self._server.eio.forget(link)
        elif not any(other.connected for other in link.members):
            link.expect_connect()


def _claim(value: Any) -> str | None:
    """pid and offset are the client's word, of any JSON type and size; none of ours holds more
    than ASCII."""
    is_one = isinstance(value, str) and value.isascii() and 0 < len(value) <= MAX_CLAIM
    return value if is_one else None
