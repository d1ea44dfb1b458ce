"""What any process publishes to rooms: to all nodes, in order, once by id."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoScriptError

from hub.cluster import scripts
from hub.cluster.line import Argument, Command, Line, settled
from protocol.events import Emit
from protocol.names import Channels, Keys
from protocol.redis_wire import Broadcast, encode_closed, encode_open, of_emit

PUBLISHED_TTL: Final = 3600
"""s an id is remembered, so that publishing it again does nothing."""

LOG_SLACK: Final = 240
"""s a log outlives RECOVERY_WINDOW. A connection can be dead for PRESENCE_TTL before its node
notices, and a session outlives its node by RECOVERY_WINDOW + PRESENCE_TTL: a log that expired
under a session that still lives would be a gap nobody sees."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """RECOVERY_WINDOW (s) and RECOVERY_EVENTS (entries of one log)."""

    window: int = 120
    events: int = 1000

    @property
    def ttl(self) -> int:
        return self.window + LOG_SLACK


class Emitter:
    """Everything published through one emitter reaches every node in the order of the calls."""

    def __init__(
        self,
        line: Line,
        keys: Keys,
        channels: Channels,
        limits: LogLimits | None = None,
    ):
        self._line = line
        self._keys = keys
        self._channels = channels
        self._limits = limits or LogLimits()

    async def publish(self, emits: Sequence[Emit]) -> None:
        """Sends the emits in order, in one round trip; each id goes out once (per epoch, 1 h).

        Raises redis.exceptions.RedisError when any of them may not have gone out, after all have
        been tried; publishing the same emits again is safe. Raises WireError for data that
        msgpack cannot carry, before anything is sent.
        """
        now = time.time()
        messages = [(emit.id, of_emit(emit, now)) for emit in emits]
        await self.broadcast(messages)

    async def broadcast(self, messages: Sequence[tuple[str, Broadcast]]) -> list[str]:
        """As `publish`, of ids and broadcasts. Returns the offset of each: empty for volatile ones
        and for an id that had been published before.
        """
        commands = [self._commands(id_, broadcast) for id_, broadcast in messages]
        try:
            replies = await self._send(commands)
        except NoScriptError:
            await self._line.load_scripts()
            replies = await self._send(commands)
        return [reply.decode() if isinstance(reply, bytes) else "" for reply in replies]

    async def epoch(self) -> str:
        """Changes when Redis was restarted or a replica promoted: what was published shortly
        before may have reached nobody, and ids may go out again. Raises RedisError.
        """
        offset: bytes = await self._line.run(scripts.WHERE, [self._keys.epoch], ())
        return offset.decode().partition("-")[0]

    async def _send(self, commands: list[list[Command]]) -> list[Any]:
        """The reply to the last command of each message."""
        link = await self._line.link()
        replies = [[link.command(*command) for command in group] for group in commands]
        await settled([reply for group in replies for reply in group])
        return [group[-1].result() for group in replies]

    def _commands(self, id_: str, broadcast: Broadcast) -> list[Command]:
        if broadcast.klass == "-":
            raise ValueError("an event of class '-' goes to one socket, not to rooms")
        if broadcast.klass == "volatile":
            return [
                ("PUBLISH", self._channel(broadcast.namespace, room), message)
                for room, message in encode_closed(broadcast)
            ]
        return [self._logged(id_, broadcast)]

    def _logged(self, id_: str, broadcast: Broadcast) -> Command:
        keys = [self._keys.epoch, self._keys.published(id_)]
        args: list[Argument] = [PUBLISHED_TTL, self._limits.ttl, self._limits.events]
        for room, message in encode_open(broadcast):
            keys.append(self._log(broadcast.namespace, room))
            args += (self._channel(broadcast.namespace, room), message)
        return ("EVALSHA", scripts.PUBLISH.sha, len(keys), *keys, *args)

    def _channel(self, namespace: str, room: str | None) -> str:
        if room is None:
            return self._channels.namespace(namespace)
        return self._channels.room(namespace, room)

    def _log(self, namespace: str, room: str | None) -> str:
        if room is None:
            return self._keys.wide_log(namespace)
        return self._keys.room_log(namespace, room)
