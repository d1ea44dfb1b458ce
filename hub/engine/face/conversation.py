"""What arrives on one session, packet by packet: CONNECT, EVENT, ACK, DISCONNECT.

A packet that the official server cannot read closes the session and is counted. One that it reads
and this one does not take (too deep, say) is answered; neither reaches a handler.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any

import structlog

from hub.engine.face.admission import Admission
from hub.engine.face.calls import REFUSED
from hub.engine.rooms.member import Member, Party
from hub.engine.session import reasons
from hub.engine.session.link import Link
from hub.engine.wire.packets import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
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
    fault_of,
    loads,
    name_of,
    reconstruct,
)

MINUTE = 60.0

EVENT_HEAD = re.compile(rb"42([0-9]{0,%d})(?=\[)" % EXACT_DIGITS)

NOTHING: list[bytes] = []
"""No attachments, shared by all sessions; it is never added to."""

log = structlog.get_logger(__name__)


class Conversation(Party):
    """One session's; it hears what the session brings (`link.Hearer`)."""

    __slots__ = ("_admission", "_attachments", "_connects", "_connects_since", "pending")

    def __init__(self, admission: Admission, link: Link) -> None:
        super().__init__(link)
        # What all conversations of the engine share: handlers, limits, who may come in.
        self._admission = admission
        # A binary packet that waits for its attachments, and those that have come.
        self.pending: Packet | None = None
        self._attachments = NOTHING
        # How many CONNECTs there were in the minute that began then (s, the loop's clock).
        self._connects = 0
        self._connects_since = 0.0
        admission.calls.opened(link)

    def closed(self, reason: str) -> None:
        self._admission.closed(self, reason)

    def text(self, payload: bytes) -> None:
        try:
            if self.pending is not None or self.link.codec != DEFAULT:
                raise BadPacket("unexpected_text")
            head = EVENT_HEAD.match(payload)
            if head is not None:
                self._event(payload, head)
            else:
                packet = decode(payload[1:])
                packet.size = len(payload)
                if _too_deep(payload, packet.data, self._admission.options.max_depth):
                    is_event = packet.type in (EVENT, BINARY_EVENT)
                    packet.refuse(TOO_DEEP, packet.data[0] if is_event else "")
                self._packet(packet)
        except BadPacket as error:
            fault = fault_of(payload, str(error))
            if fault == "utf8" and not self.link.upgraded:  # HTTP has no such rule; Node replaces
                self.text(payload.decode(errors="replace").encode())
            else:
                self.link.reject(fault)

    def binary(self, payload: bytes) -> None:
        try:
            if self.link.codec == MSGPACK:
                packet = decode_msgpack(payload)
                packet.size = len(payload)
                if depth_over(packet.data, self._admission.options.max_depth):
                    packet.refuse(TOO_DEEP, packet.data[0] if packet.type == EVENT else "")
                self._packet(packet)
            else:
                self._attachment(payload)
        except BadPacket as fault:
            self.link.reject(str(fault))

    # Packets.

    def _event(self, payload: bytes, head: re.Match[bytes]) -> None:
        """An EVENT of the main namespace, the packet that comes most."""
        admission, body = self._admission, payload[head.end() :]
        try:
            args = loads(body)
            check_name(args)
            if _too_deep(payload, args, admission.options.max_depth):
                args = [REFUSED, args[0], TOO_DEEP]
        except RecursionError:
            args = [REFUSED, name_of(body), TOO_DEEP]
        number = head[1]
        for member in self.members:
            if member.namespace.name == "/":
                id = int(number) if number else None
                admission.calls.event(member, id, args, len(payload))
                return

    def _packet(self, packet: Packet) -> None:
        kind = packet.type
        if kind == CONNECT:
            self._count_connect()
            if packet.fault:
                self._admission.refuse(self.link, packet.namespace, {"message": "Invalid payload"})
            else:
                self._admission.connect(self, packet.namespace, packet.data)
            return
        member = self.member(packet.namespace)
        if kind in (BINARY_EVENT, BINARY_ACK):
            self._await_attachments(member, packet)
        elif member is None:
            return
        elif kind == EVENT:
            if packet.fault:
                refused = [REFUSED, packet.data[0], packet.fault]
                self._admission.calls.event(member, packet.id, refused, packet.size)
            elif packet.data is not None:  # without data there is not even a name
                self._admission.calls.event(member, packet.id, packet.data, packet.size)
        elif kind == ACK:
            if packet.id is not None and not packet.fault:
                self._acknowledged(member, packet.id, packet.data or [])
        else:
            self._admission.leave(member, reasons.CLIENT_DISCONNECT)

    def _await_attachments(self, member: Member | None, packet: Packet) -> None:
        if member is None or packet.attachments > self._admission.options.max_attachments:
            raise BadPacket("attachments")
        self.pending, self._attachments = packet, []
        self.link.expect_attachments()
        if packet.attachments == 0:
            self._complete()

    def _attachment(self, payload: bytes) -> None:
        packet = self.pending
        if packet is None:
            raise BadPacket("unexpected_binary")
        packet.size += len(payload)
        if packet.size > self._admission.options.max_payload:
            raise BadPacket("payload_too_big")
        self._attachments.append(payload)
        if len(self._attachments) == packet.attachments:
            self._complete()

    def _complete(self) -> None:
        packet, attachments = self.pending, self._attachments
        self.pending, self._attachments = None, NOTHING
        self.link.met_attachments()
        assert packet is not None
        packet.data = reconstruct(packet.data, attachments)
        packet.type = EVENT if packet.type == BINARY_EVENT else ACK
        self._packet(packet)

    def _acknowledged(self, member: Member, number: int, data: list[Any]) -> None:
        try:
            result = member.answered(number, data)
        except Exception as error:
            log.error("the callback of an acknowledgement failed", exc_info=error)
            return
        if inspect.isawaitable(result):
            self._admission.calls.task(result)

    def _count_connect(self) -> None:
        """Whatever comes of it, a CONNECT is work that 2 bytes begin: a session has a few a minute.
        Raises BadPacket over them."""
        now = asyncio.get_running_loop().time()
        if now - self._connects_since >= MINUTE or not self._connects:
            self._connects, self._connects_since = 0, now
        self._connects += 1
        if self._connects > self._admission.options.connects_a_minute:
            raise BadPacket("connects")


def _too_deep(payload: bytes, data: Any, limit: int) -> bool:
    """Whether it nests deeper; most packets have too few brackets for that."""
    brackets = payload.count(b"[") + payload.count(b"{")
    return brackets > limit and depth_over(data, limit)
