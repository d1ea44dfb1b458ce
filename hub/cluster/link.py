"""One connection to Redis: commands out, replies in order, published messages handed on."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError, TimeoutError

from hub.plumbing.stores.redis_client import DEMOTED, Refused, refusal

REPLY_TIMEOUT: Final = 3.0
"""s a reply may take before the connection is given up (a stopped Redis still accepts bytes)."""

PUSHES: Final = frozenset(
    {
        b"message",
        b"pmessage",
        b"smessage",
        b"subscribe",
        b"psubscribe",
        b"ssubscribe",
        b"unsubscribe",
        b"sunsubscribe",
    }
)
"""How a reply begins that nobody asked for on this connection; ROLE answers a list, too."""

_LISTS: Final = (list, hiredis.PushNotification)
"""What pushes are in RESP2 and in RESP3."""

Push = Callable[[list[Any]], None]

log = structlog.get_logger(__name__)


class Link(asyncio.Protocol):
    """Made by `Server.open`. `on_push` gets `[kind, channel, payload]` of a subscribed connection;
    `on_lost` is called once when the connection ends, for whatever reason.
    """

    def __init__(self, on_push: Push | None = None, on_lost: Callable[[], None] | None = None):
        self._reader = hiredis.Reader(protocolError=RedisConnectionError, replyError=_reply_error)
        self._on_push = on_push
        self._on_lost = on_lost
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.WriteTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._last_reply = 0.0
        self._watch: asyncio.TimerHandle | None = None

    # --- out -------------------------------------------------------------------------------------

    def command(self, *args: str | bytes | int | float) -> asyncio.Future[Any]:
        """Sends a command; the future ends with its reply. Errors of the connection and error
        replies are set on it as `redis.exceptions`.
        """
        future = self._loop.create_future()
        if self._transport is None:
            future.set_exception(RedisConnectionError("Redis connection is closed"))
            return future
        if not self._waiting:
            self._last_reply = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(REPLY_TIMEOUT, self._check_replies)
        self._waiting.append(future)
        self._transport.write(_packed(args))
        return future

    def push_command(self, *args: str | bytes) -> None:
        """Sends SUBSCRIBE and the like, whose replies come as pushes."""
        if self._transport is not None:
            self._transport.write(_packed(args))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self.connection_lost(None)

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    # --- in --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                push = self._on_push if type(reply) in _LISTS and reply else None
                if push is not None and reply[0] in PUSHES:
                    push(reply)
                else:
                    self._settle(reply)
        except RedisConnectionError:
            self.close()

    def _settle(self, reply: Any) -> None:
        if not self._waiting:
            if isinstance(reply, Exception):
                self._refuse(reply)
            return
        self._last_reply = self._loop.time()
        future = self._waiting.popleft()
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)
        if isinstance(reply, Refused) and reply.word in DEMOTED:
            self.close()

    def _refuse(self, error: Exception) -> None:
        """A SUBSCRIBE was refused. Nobody would ever be told that its channel is deaf; the next
        connection asks for it again.
        """
        word = error.word if isinstance(error, Refused) else str(error).partition(" ")[0]
        log.warning("redis_refused_to_listen", word=word)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
        error = RedisConnectionError("Redis connection was lost")
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
        if self._on_lost is not None:
            self._on_lost()

    def _check_replies(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        late = self._last_reply + REPLY_TIMEOUT - self._loop.time()
        if late > 0:
            self._watch = self._loop.call_later(late, self._check_replies)
            return
        error = TimeoutError("Redis does not answer")
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
        self.close()


_packed: Callable[[tuple[str | bytes | int | float, ...]], bytes] = cast(
    Any, hiredis.pack_command
)  # its stub takes tuples of one


def _reply_error(message: str) -> Exception:
    """Error replies as redis-py's classes, refusals as what `redis_client.AWAY` names."""
    kind, _, rest = message.partition(" ")
    if kind == "NOSCRIPT":
        return NoScriptError(rest)
    return refusal(message) or ResponseError(message)
