"""The heartbeat of a node through Redis: is the bus alive, how late is it, and up to where."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from redis.exceptions import RedisError

from hub.cluster import scripts
from hub.cluster.line import Line
from protocol.names import Keys

BEAT_EVERY: Final = 2.0
BEATS_MISSED: Final = 3
DRAIN: Final = "drain"

log = structlog.get_logger(__name__)


class Pulse:
    """Publishes on the node's own channel by the line of commands and hears it on the bus.

    `heard` gets the offset each message carries: everything numbered up to it was published
    before. `unbroken` gets that of a beat when every beat before it was heard, `gap` is called
    instead when one was not that Redis had taken: whatever was published around it did not come
    either (a failover that kept our connection, a replica that began anew). `evict` gets the owner
    (`node token`) of a connection whose session was taken over; `drain` is called when somebody
    orders the node to end as SIGTERM would.
    """

    def __init__(
        self,
        line: Line,
        keys: Keys,
        node: str,
        *,
        heard: Callable[[str], None],
        unbroken: Callable[[str], None],
        gap: Callable[[], None],
        evict: Callable[[str], None],
        drain: Callable[[], None] = lambda: None,
    ):
        self._line = line
        self._epoch_key = keys.epoch
        self.channel = keys.node(node)
        self._heard = heard
        self._unbroken = unbroken
        self._gap = gap
        self._evict = evict
        self._drain = drain
        self._unheard: dict[float, bool] = {}  # by time of sending: whether Redis took it
        self._heard_at = 0.0
        self._last_lag = 0.0

    @property
    def lag(self) -> float:
        """s from publishing to hearing, of the last beat or of the one that is late."""
        late = time.monotonic() - next(iter(self._unheard)) if self._unheard else 0.0
        return max(self._last_lag, late)

    @property
    def is_beating(self) -> bool:
        return time.monotonic() - self._heard_at <= BEATS_MISSED * BEAT_EVERY

    def restart(self) -> None:
        """A new connection listens from now on: what was sent before may not be heard."""
        self._heard_at = time.monotonic()
        self._unheard.clear()

    async def send(self, text: str) -> str:
        """Publishes a message to this node. Returns where the log stands.

        Raises redis.exceptions.RedisError.
        """
        said = (self._line.tell, self.channel, text)
        offset: bytes = await self._line.run(scripts.BEAT, [self._epoch_key], said)
        return offset.decode()

    async def run(self, silent: Callable[[], None]) -> None:
        """Beats for ever; calls `silent` as often as it should have heard a beat and did not."""
        while True:
            sent = time.monotonic()
            self._unheard[sent] = False
            try:
                async with asyncio.timeout(BEAT_EVERY):
                    await self.send(f"beat {sent!r}")
                if sent in self._unheard:
                    self._unheard[sent] = True
            except (RedisError, TimeoutError):
                self._unheard.pop(sent, None)
            await asyncio.sleep(max(0.0, sent + BEAT_EVERY - time.monotonic()))
            if not self.is_beating:
                silent()

    def hear(self, payload: bytes) -> None:
        """Raises ValueError for what no node sends."""
        kind, _, rest = payload.partition(b" ")
        if kind == b"evict":
            self._evict(rest.decode())
            return
        if payload == DRAIN.encode():
            log.info("ordered to drain")
            self._drain()
            return
        text, _, offset = rest.rpartition(b" ")
        if kind == b"beat" and not self._hear_beat(float(text)):
            self._gap()
            return
        self._heard(offset.decode())
        if kind == b"beat":
            self._unbroken(offset.decode())

    def _hear_beat(self, sent: float) -> bool:
        """False when one before it never came."""
        self._heard_at = time.monotonic()
        self._last_lag = self._heard_at - sent
        self._unheard.pop(sent, None)
        earlier = [self._unheard.pop(one) for one in list(self._unheard) if one < sent]
        return not any(earlier)


async def order_drain(line: Line, keys: Keys, node: str) -> bool:
    """Tells a node to end as SIGTERM would; whoever may publish on Redis may. False when nobody
    listens under this name. Raises redis.exceptions.RedisError.
    """
    return bool(await line.call(line.tell, keys.node(node), DRAIN))
