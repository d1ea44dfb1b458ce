"""Listening to what passes on the bus without being a server: by patterns, which nobody counts, and
on a cluster to the rooms that somebody listens to.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from redis.exceptions import RedisError

from hub.cluster.line import backoff
from hub.cluster.link import Link
from hub.cluster.server import Server
from hub.plumbing.life.waiting import set_within
from protocol.names import HIDDEN_ROOMS, PYTHON_SOCKETIO_CHANNEL, Channels, room_kind
from protocol.python_wire import decode_order
from protocol.redis_requests import Kind, Request, Response, decode_request, decode_response
from protocol.redis_wire import Broadcast, WireError, decode_broadcast

PING_EVERY: Final = 5.0
"""s between two looks whether Redis still answers (a stopped one keeps the connection)."""


FIND_EVERY: Final = 0.5
"""s between two looks, on a cluster, which rooms somebody listens to."""


class Passed(msgspec.Struct, kw_only=True):
    """One message as it arrived: `at` in epoch s, `size` in bytes. `klass` is an event's class;
    `python`, `request` or `response` for what is none of ours; `malformed`, with the reason as
    `event`. `said` is what it carries, not redacted.
    """

    channel: str
    size: int
    at: float = msgspec.field(default_factory=time.time)
    namespace: str = ""
    rooms: tuple[str, ...] = ()
    except_rooms: tuple[str, ...] = ()
    event: str = ""
    klass: str = ""
    offset: str = ""
    said: Any = None


class Tail:
    """Gives every message to `passed`, an event that went out once for each of its rooms only
    once; on a cluster what goes to rooms that somebody listens to, or with `classic_out`
    (REDIS_CLASSIC_OUT) everything, too. `told` gets a sentence when Redis is lost and when it is
    heard again. Counters only grow.
    """

    def __init__(
        self,
        server: Server,
        channels: Channels,
        passed: Callable[[Passed], None],
        told: Callable[[str], None],
        *,
        namespace: str = "",
        requests: bool = False,
        classic_out: bool = False,
    ):
        self._server = server
        self._channels = channels
        self._passed = passed
        self._told = told
        self._namespace = namespace
        self._patterns = channels.patterns(namespace, requests=requests)
        self._sharded = bool(channels.slot) and not classic_out
        self._found: set[bytes] = set()
        self._last = ""
        self.messages = 0
        self.malformed = 0

    async def run(self, listening: Callable[[], None] = lambda: None) -> None:
        """Listens until it is cancelled; `listening` is called once Redis has confirmed.

        Raises redis.exceptions.RedisError when it cannot begin; later losses are told and mended.
        """
        link, lost = await self._open()
        listening()
        try:
            while True:
                await self._until_lost(link, lost)
                self._told("Redis was lost; trying again")
                link, lost = await self._open_again()
                self._told("listening again; what passed meanwhile was not seen")
        finally:
            link.close()

    async def _open(self) -> tuple[Link, asyncio.Event]:
        lost = asyncio.Event()
        link = await self._server.open("dongne-tail", self._push, lost.set)
        for pattern in (*self._patterns, PYTHON_SOCKETIO_CHANNEL):
            link.push_command("PSUBSCRIBE", pattern)
        self._found.clear()
        try:
            await self._find(link)
            await link.command("PING")  # its answer comes after theirs: a refusal of theirs instead
        except BaseException:
            link.close()
            raise
        return link, lost

    async def _open_again(self) -> tuple[Link, asyncio.Event]:
        failures = 0
        while True:
            await asyncio.sleep(backoff(failures))
            with suppress(RedisError):
                return await self._open()
            failures += 1

    async def _until_lost(self, link: Link, lost: asyncio.Event) -> None:
        every = FIND_EVERY if self._sharded else PING_EVERY
        while not lost.is_set():
            with suppress(RedisError):
                await link.command("PING")
                await self._find(link)
            await set_within(lost, every)

    async def _find(self, link: Link) -> None:
        """On a cluster: sharded channels know no patterns, so whichever has a listener is asked
        for by its name.
        """
        if not self._sharded:
            return
        [pattern] = self._channels.patterns(self._namespace, own=True)
        there = set(await link.command("PUBSUB", "SHARDCHANNELS", pattern))
        for channel in there - self._found:
            link.push_command("SSUBSCRIBE", channel)
        self._found |= there

    # --- messages --------------------------------------------------------------------------------

    def _push(self, push: list[Any]) -> None:
        if push[0] not in (b"pmessage", b"smessage"):
            return
        *_, name, payload = push
        channel = name.decode(errors="replace").removeprefix(self._channels.slot)
        self.messages += 1
        try:
            passed = self._read(channel, payload)
        except Exception as error:  # one bad message must not end the reader
            self.malformed += 1
            reason = str(error) if isinstance(error, WireError) else type(error).__name__
            passed = Passed(channel=channel, size=len(payload), event=reason, klass="malformed")
        if passed is not None:
            self._passed(passed)

    def _read(self, channel: str, payload: bytes) -> Passed | None:
        """None for another copy of the last event, and for what is not asked for.

        Raises WireError, and whatever a message made to do harm can cause.
        """
        passed = Passed(channel=channel, size=len(payload))
        if channel == PYTHON_SOCKETIO_CHANNEL:
            return self._of_python(passed, payload)
        kind, passed.namespace, _ = self._channels.parts(channel)
        if kind == "request":
            return _of_request(passed, decode_request(payload))
        if kind == "response":
            return _of_response(passed, decode_response(payload))
        if self._last and payload.endswith(self._last.encode()):
            return None
        broadcast = decode_broadcast(payload)
        self._last = broadcast.offset
        return _of_broadcast(passed, broadcast, broadcast.klass)

    def _of_python(self, passed: Passed, payload: bytes) -> Passed | None:
        order = decode_order(payload)
        if order is None or self._namespace not in ("", order.namespace):
            return None
        passed.namespace = order.namespace
        if order.broadcast is not None:
            return _of_broadcast(passed, order.broadcast, "python")
        passed.klass, passed.event, passed.rooms = "python", order.method, order.rooms
        passed.said = {"into": _told_rooms(order.into)}
        return passed


def _of_broadcast(passed: Passed, broadcast: Broadcast, klass: str) -> Passed:
    passed.klass, passed.event, passed.offset = klass, broadcast.event, broadcast.offset
    passed.rooms, passed.except_rooms = broadcast.rooms, broadcast.except_rooms
    passed.said = broadcast.args[0] if len(broadcast.args) == 1 else list(broadcast.args)
    return passed


def _of_request(passed: Passed, request: Request) -> Passed:
    if request.broadcast is not None:
        passed = _of_broadcast(passed, request.broadcast, "request")
        passed.event += " (wants acks)"
        return passed
    passed.klass, passed.event = "request", request.kind.name.lower()
    passed.rooms = (request.sid,) if request.sid else request.rooms
    passed.except_rooms = request.except_rooms
    if request.kind is Kind.SERVER_SIDE_EMIT:
        passed.said = list(request.data)
    elif request.into:
        passed.said = {"into": _told_rooms(request.into)}
    return passed


def _of_response(passed: Passed, response: Response) -> Passed:
    """What sockets of other servers are made of is nobody's business: only how many they are."""
    passed.klass = "response"
    passed.event = response.kind.name.lower() if response.kind is not None else response.request_id
    if response.kind is Kind.CLIENT_COUNT:
        passed.said = {"clients": response.client_count}
    elif response.kind is not None:
        passed.said = response.data
    else:
        parts = (("sockets", response.sockets), ("rooms", response.rooms))
        passed.said = {name: len(part) for name, part in parts if part is not None}
    return passed


def _told_rooms(rooms: Sequence[str]) -> list[str]:
    """A cell that somebody's sockets join is their position: its name stays untold."""
    kinds = ((room, room_kind(room)) for room in rooms)
    return [f"{kind}…" if kind in HIDDEN_ROOMS else room for room, kind in kinds]
