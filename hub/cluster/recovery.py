"""Bringing a client that comes back to where its session is, through any node."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from hub.cluster.bus import Bus
from hub.cluster.log import Log
from hub.cluster.pulse import Pulse
from hub.cluster.replay import Refusal, plan, position, positions
from hub.cluster.sessions import Session
from protocol.redis_wire import Broadcast

TIMEOUT: Final = 5.0
"""s for Redis to confirm, read and say so; after it the client should come again."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Missed events in order. Everything after `since`, where the client stands, up to `position`
    that concerns the socket is among them; held-back live events up to it are to be dropped, later
    ones follow.
    """

    events: list[Broadcast]
    position: str
    since: str


class Recovery:
    def __init__(self, logs: Log, bus: Bus, pulse: Pulse):
        self._logs = logs
        self._bus = bus
        self._pulse = pulse

    async def replay(
        self, session: Session, offset: Any, rooms: Collection[str]
    ) -> Replay | Refusal:
        """What the session missed in `rooms` (those it may still be in) after the client's
        `offset` (None, or whatever it sent).

        To be called once the socket is in these rooms on this node and holds back what reaches it:
        when this returns, everything up to `Replay.position` has passed the bus, so no repeat can
        follow what was held. Raises TimeoutError and redis.exceptions.RedisError while Redis is
        away: the client should come again.
        """
        since = position(session, offset)
        if isinstance(since, Refusal):
            return since
        wanted = positions(session, since, rooms)
        async with asyncio.timeout(TIMEOUT):
            await self._bus.subscribed(session.namespace, [session.sid, *rooms])
            reading = await self._logs.read(wanted, self._pulse.channel)
            events = plan(wanted, session, since, reading, self._logs.limit)
            if isinstance(events, Refusal):
                return events
            await self._bus.reached(reading.offset)
        return Replay(events, reading.offset, since)
