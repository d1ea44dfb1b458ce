"""What all sessions of one engine share: limits, counters, clocks, and who is behind on reading.

A session writes itself down here and is asked by the protocol `Session`; what carries it, and what
sits on it, is not known here.
"""

from __future__ import annotations

import asyncio
import os
from base64 import urlsafe_b64encode
from collections import deque
from typing import Protocol

import orjson

from hub.engine.session import reasons
from hub.engine.session.cork import Cork
from hub.engine.session.limits import Limits
from hub.engine.session.options import Handshake, Options, Refusal, Refuse
from hub.engine.session.telemetry import Counters, count
from hub.engine.session.wheel import Wheel

COARSEST_TICK = 0.5
FINEST_TICK = 0.001

SLOW_AT_ONCE = 2
"""Slow consumers closed in one loop round: each takes up to 0.2 ms, most of it for its buffers."""


class Timed(Protocol):
    """What must have got somewhere in time."""

    def expired(self) -> None:
        """Called when it has not."""


class Session(Timed, Protocol):
    """What the book asks of a session."""

    @property
    def waiting(self) -> int:
        """Bytes that wait in this process for the peer to read."""

    def beat(self) -> None:
        """Called when it is time for a ping, or the pong did not come."""

    def attachments_late(self) -> None:
        """Called when the rest of a packet did not come in time."""

    def end(self, reason: str, code: int = 1000) -> None:
        """Close it for this reason."""


class Book:
    """The book of one engine."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.counters = Counters()
        self.limits = Limits(options)
        # Frames that are held until the end of the loop round.
        self.cork = Cork()
        # Sessions by their id, until their last handler has run.
        self.sessions: dict[str, Session] = {}
        # Those for which bytes wait in this process.
        self.behind: set[Session] = set()
        tick = min(options.ping_interval, options.ping_timeout, options.connect_timeout) / 200
        tick = max(FINEST_TICK, min(COARSEST_TICK, tick))
        self.beats: Wheel[Session] = Wheel(tick, lambda session: session.beat())
        self.deadlines: Wheel[Timed] = Wheel(tick, lambda timed: timed.expired())
        self.attachments: Wheel[Session] = Wheel(tick, lambda session: session.attachments_late())
        # The application's own reason to refuse a handshake, asked each time.
        self.refuse: Refuse | None = None
        # What every handshake is answered once the node drains.
        self.draining: Refusal | None = None
        self._slow: deque[Session] = deque()
        # Ids made at once, one after the other, and how many characters of them are given out.
        self._ids = ""
        self._ids_used = 0
        self._open_packet = (
            b'{"sid":"%%s","upgrades":%%s,"pingInterval":%d,"pingTimeout":%d,"maxPayload":%d}'
            % (
                round(options.ping_interval * 1000),
                round(options.ping_timeout * 1000),
                options.max_payload,
            )
        )

    def admit(self, address: str, transport: str, query: str) -> Refusal | None:
        """Count one more session, or say why not."""
        refusal = self.draining
        if refusal is None and self.refuse is not None:
            refusal = self.refuse(Handshake(address, transport, query))
        if refusal is None:
            refusal = self.limits.take(address)
        if refusal is None:
            count(self.counters.opened, transport)
        else:
            count(self.counters.refused, refusal.reason)
        return refusal

    def open_packet(self, sid: str, upgrades: tuple[str, ...]) -> bytes:
        """The data of Engine.IO's OPEN packet; times in ms."""
        return self._open_packet % (sid.encode(), orjson.dumps(upgrades))

    def new_id(self) -> str:
        """20 random characters of a session or a member."""
        at = self._ids_used
        if at == len(self._ids):
            self._ids, at = urlsafe_b64encode(os.urandom(15 * 64)).decode(), 0
        self._ids_used = at + 20
        return self._ids[at : at + 20]

    def closed(self, address: str, reason: str) -> None:
        """A session of that address has ended."""
        self.limits.release(address)
        count(self.counters.closed, reason)

    def end_slow(self, session: Session) -> None:
        """Close it soon: a room's stalled readers reach the high mark in the same broadcast, and
        everybody else would wait while all of them are cleared away."""
        self._slow.append(session)
        if len(self._slow) == 1:
            asyncio.get_running_loop().call_soon(self._end_slow)

    def _end_slow(self) -> None:
        for _ in range(min(SLOW_AT_ONCE, len(self._slow))):
            self._slow.popleft().end(reasons.SLOW_CONSUMER)
        if self._slow:
            asyncio.get_running_loop().call_soon(self._end_slow)

    def waiting_bytes(self) -> int:
        """Bytes that wait in this process for connections that are behind on reading."""
        return sum(session.waiting for session in self.behind)

    def close(self) -> None:
        self.beats.close()
        self.deadlines.close()
        self.attachments.close()
