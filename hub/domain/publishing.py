"""Publishing: the one place where what an outbox row holds is handed to Redis."""

from collections.abc import Sequence

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.orders import move, revoke
from hub.cluster.outgoing import tell_services
from hub.plumbing.stores.outbox_rows import Told
from protocol.domain_events import Envelope
from protocol.events import Emit, Move, Revocation
from protocol.names import Channels, Keys


class Publisher:
    """Hands what an outbox row holds to Redis: events to rooms, moves of sockets, events out; and
    knows in which epoch of Redis that was (hub.plumbing.stores.outbox.Epochs).
    """

    def __init__(self, emitter: Emitter, line: Line, keys: Keys, channels: Channels) -> None:
        self._emitter = emitter
        self._line = line
        self._keys = keys
        self._channels = channels

    async def publish(self, told: Sequence[Told]) -> None:
        """In order within each kind. Raises redis.exceptions.RedisError; repeating is safe."""
        emits = [one for one in told if isinstance(one, Emit)]
        moves = [one for one in told if isinstance(one, Move)]
        revoked = [one for one in told if isinstance(one, Revocation)]
        events = [one for one in told if isinstance(one, Envelope)]
        if revoked:
            await revoke(self._line, self._keys, self._channels, revoked)
        if emits:
            await self._emitter.publish(emits)
        if moves:
            await move(self._line, self._channels, moves)
        if events:
            await tell_services(self._line, self._keys, events)
        if self._line.replicas and (revoked or events):
            await self._line.kept(await self._line.link(), self._keys.epoch)

    async def unreplayed(self) -> int | None:
        """Raises redis.exceptions.RedisError."""
        epoch = await self._emitter.epoch()
        if await self._line.call("HGET", self._keys.epoch, "replayed") == epoch.encode():
            return None
        return int(epoch)

    async def replayed(self, epoch: int) -> None:
        """Raises redis.exceptions.RedisError."""
        await self._line.call("HSET", self._keys.epoch, "replayed", f"{epoch:013}")
