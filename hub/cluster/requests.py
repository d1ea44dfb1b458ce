"""Questions and orders between servers: our nodes, Node servers and emitters alike."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar

import structlog
from redis.exceptions import ResponseError

from hub.cluster.line import Line
from hub.cluster.listeners import Listeners
from hub.cluster.local import Local, Rooms
from protocol import redis_requests as wire
from protocol.names import Channels
from protocol.redis_requests import Kind, RemoteSocket, Request, Response
from protocol.redis_wire import Broadcast, room_names

TIMEOUT: Final = 5.0
"""s to wait for the other servers; a dead one is counted until Redis drops its connection."""

ASK_AT_MOST: Final = 60.0
"""s that clients are waited for on behalf of another server, whatever it says: a Go adapter gives
nanoseconds where milliseconds stand, and a timer of theirs would stay here for 23 days."""

OURS: Final = "hub-"
"""Our uids begin so: who asks with one hears answers on a channel of its own."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Answers(Generic[T]):
    """What came in time. `missing` servers did not answer."""

    values: list[T]
    missing: int


@dataclass(slots=True)
class _Asked:
    """A question under way: `servers` still owe an answer, and so many `clients` of those that did.
    The two are counted apart: in a cluster a Node server sends each message by another node of
    Redis, so what a client says may come before the word how many there are.
    """

    take: Callable[[Response], None]
    servers: int
    clients: int = 0
    done: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def missing(self) -> int:
        return max(self.servers, 0) + max(self.clients, 0)

    def server_answered(self, clients: int = 0) -> None:
        self.servers -= 1
        self.clients += clients
        self._settle()

    def client_answered(self) -> None:
        self.clients -= 1
        self._settle()

    def _settle(self) -> None:
        if not self.missing and not self.done.done():
            self.done.set_result(None)


class Requests:
    """Every method raises redis.exceptions.RedisError when the question cannot be sent."""

    def __init__(self, line: Line, channels: Channels, local: Local, *, timeout: float = TIMEOUT):
        self.uid = OURS + secrets.token_urlsafe(6)
        self._line = line
        self._channels = channels
        self._local = local
        self._timeout = timeout
        self._listeners = Listeners(line)
        self._asked: dict[str, _Asked] = {}
        self.unanswered = 0

    def close(self) -> None:
        self._listeners.close()

    def channels(self, namespace: str) -> dict[str, Callable[[bytes], None]]:
        """What to listen to, and who takes it. Each node must listen exactly once to each."""
        return {
            self._channels.request(namespace): partial(self.on_request, namespace),
            self._channels.response(namespace): self.on_response,
            self._channels.response_to(namespace, self.uid): self.on_response,
        }

    # --- asking ----------------------------------------------------------------------------------

    async def server_count(self, namespace: str) -> int:
        """Servers of the cluster, this one included."""
        return await self._listeners.count(self._channels.request(namespace))

    async def sharded_peers(self, namespaces: Sequence[str]) -> int:
        """Servers that speak the sharded adapter under our name: neither hears the other. 0 where
        Redis knows no sharded channels (before 7) or does not tell, as of another slot than ours.
        """
        if self._channels.slot:
            return 0
        channels = [self._channels.namespace(namespace) for namespace in namespaces]
        try:
            counts = await self._line.call("PUBSUB", "SHARDNUMSUB", *channels)
        except ResponseError:
            return 0
        return max(counts[1::2], default=0)

    async def fetch_sockets(
        self, namespace: str, rooms: Rooms = (), except_rooms: Rooms = ()
    ) -> Answers[RemoteSocket]:
        found = self._local.sockets(namespace, rooms, except_rooms)

        def take(response: Response) -> None:
            sockets = (wire.remote_socket(value) for value in response.sockets or ())
            found.extend(socket for socket in sockets if socket is not None)

        request = Request(kind=Kind.FETCH, rooms=rooms, except_rooms=except_rooms)
        return Answers(found, await self._ask(namespace, request, take))

    async def all_rooms(self, namespace: str) -> Answers[str]:
        found = dict.fromkeys(self._local.rooms(namespace))

        def take(response: Response) -> None:
            found.update(dict.fromkeys(room_names(response.rooms)))

        missing = await self._ask(namespace, Request(kind=Kind.ALL_ROOMS), take)
        return Answers(list(found), missing)

    async def server_side_emit(self, namespace: str, args: Sequence[Any]) -> None:
        """`[event, …]` to all other servers, without an answer."""
        await self._send(namespace, Request(kind=Kind.SERVER_SIDE_EMIT, data=args))

    async def server_side_ask(self, namespace: str, args: Sequence[Any]) -> Answers[Any]:
        """`[event, …]` to all other servers, and what each answered."""
        found: list[Any] = []
        request = Request(kind=Kind.SERVER_SIDE_EMIT, data=args)
        missing = await self._ask(namespace, request, lambda response: found.append(response.data))
        return Answers(found, missing)

    async def ask_clients(self, broadcast: Broadcast, timeout: float) -> Answers[Any]:
        """Sends a broadcast that wants an ack from each client on every server. Returns the first
        argument of each; `missing` counts clients (and servers) that gave none in `timeout` s.
        """
        found: list[Any] = []
        namespace = broadcast.namespace

        def take(response: Response) -> None:
            if response.kind is Kind.CLIENT_COUNT:
                asked.server_answered(response.client_count)
            else:
                found.append(response.data)
                asked.client_answered()

        def answer(args: list[Any]) -> None:
            take(Response(request_id="", kind=Kind.ACK, data=args[0] if args else None))

        asked = _Asked(take, await self.server_count(namespace))
        here = self._local.ask(broadcast, timeout, answer)
        asked.server_answered(here)
        request = Request(kind=Kind.BROADCAST, broadcast=broadcast, timeout=timeout)
        return Answers(found, await self._await(namespace, request, asked, timeout))

    # --- ordering --------------------------------------------------------------------------------

    async def join(
        self, namespace: str, rooms: Rooms, into: Rooms, except_rooms: Rooms = ()
    ) -> None:
        """The sockets selected join rooms, wherever they are; this node hears its own order."""
        order = Request(kind=Kind.JOIN, rooms=rooms, except_rooms=except_rooms, into=into)
        await self._send(namespace, order)

    async def leave(
        self, namespace: str, rooms: Rooms, out_of: Rooms, except_rooms: Rooms = ()
    ) -> None:
        order = Request(kind=Kind.LEAVE, rooms=rooms, except_rooms=except_rooms, into=out_of)
        await self._send(namespace, order)

    async def disconnect(
        self, namespace: str, rooms: Rooms, except_rooms: Rooms = (), *, close: bool = True
    ) -> None:
        """The sockets selected leave; with `close` their transports end."""
        order = Request(kind=Kind.DISCONNECT, rooms=rooms, except_rooms=except_rooms, close=close)
        await self._send(namespace, order)

    # --- being asked -----------------------------------------------------------------------------

    def on_request(self, namespace: str, data: bytes) -> None:
        """Raises WireError."""
        request = wire.decode_request(data)
        own = request.uid == self.uid
        if own and request.kind not in {Kind.JOIN, Kind.LEAVE, Kind.DISCONNECT}:
            return
        answer = self._obey(namespace, request)
        if answer is not None and request.request_id:
            self._answer(namespace, request, answer)

    def _obey(self, namespace: str, request: Request) -> bytes | None:
        """Acts; the answer, where the kind of request has one that is known at once."""
        local, id_ = self._local, request.request_id
        if request.kind is Kind.SOCKETS:
            sockets = local.sockets(namespace, request.rooms, ())
            return wire.encode_sids(id_, [socket.id for socket in sockets])
        if request.kind is Kind.ALL_ROOMS:
            return wire.encode_rooms(id_, list(local.rooms(namespace)))
        if request.kind is Kind.FETCH:
            sockets = local.sockets(namespace, request.rooms, request.except_rooms)
            return wire.encode_sockets(id_, sockets)
        if request.kind is Kind.SERVER_SIDE_EMIT:
            self._serve(namespace, request)
        elif request.kind is Kind.REVOKE:
            assert request.revocation is not None
            local.revoke(request.revocation)
        elif request.kind is Kind.BROADCAST:
            self._ask_local(namespace, request)
        else:
            return self._order(namespace, request)
        return None

    def _order(self, namespace: str, request: Request) -> bytes | None:
        """2, 3 and 4. The older form names one socket; only the server that has it answers."""
        local, rooms = self._local, request.rooms
        if request.sid:
            rooms = (request.sid,)
            if not local.sockets(namespace, rooms, ()):
                return None
        keep = request.keep_asked
        if request.kind is Kind.JOIN:
            local.join(namespace, rooms, request.except_rooms, request.into, keep_asked=keep)
        elif request.kind is Kind.LEAVE:
            local.leave(namespace, rooms, request.except_rooms, request.into, keep_asked=keep)
        else:
            local.disconnect(namespace, rooms, request.except_rooms, request.close)
        return wire.encode_done(request.request_id) if request.sid else None

    def _serve(self, namespace: str, request: Request) -> None:
        def answer(value: Any) -> None:
            data = wire.encode_served(request.request_id, value)
            self._answer(namespace, request, data)

        self._local.serve(namespace, request.data, answer if request.request_id else None)

    def _ask_local(self, namespace: str, request: Request) -> None:
        """The count must be on Redis before the first answer, also when it is 0."""
        assert request.broadcast is not None

        def answer(args: list[Any]) -> None:
            self._answer(namespace, request, wire.encode_ack(request.request_id, args))

        timeout = min(request.timeout, ASK_AT_MOST) if request.timeout > 0 else self._timeout
        count = self._local.ask(request.broadcast, timeout, answer)
        self._answer(namespace, request, wire.encode_client_count(request.request_id, count))

    def _answer(self, namespace: str, request: Request, data: bytes) -> None:
        if request.uid.startswith(OURS):
            channel = self._channels.response_to(namespace, request.uid)
        else:
            channel = self._channels.response(namespace)
        if not self._line.post("PUBLISH", channel, data):
            self.unanswered += 1

    # --- answers ---------------------------------------------------------------------------------

    def on_response(self, data: bytes) -> None:
        """Everybody may hear everybody's answers: those to others are passed over.

        Raises WireError.
        """
        response = wire.decode_response(data)
        asked = self._asked.get(response.request_id)
        if asked is None:
            return
        asked.take(response)

    async def _send(self, namespace: str, request: Request) -> None:
        request.uid = self.uid
        data = wire.encode_request(request)
        await self._line.call("PUBLISH", self._channels.request(namespace), data)

    async def _ask(self, namespace: str, request: Request, take: Callable[[Response], None]) -> int:
        """Sends it and waits for each other server. Returns how many did not answer."""

        def take_one(response: Response) -> None:
            take(response)
            asked.server_answered()

        asked = _Asked(take_one, await self.server_count(namespace) - 1)
        return await self._await(namespace, request, asked, self._timeout)

    async def _await(self, namespace: str, request: Request, asked: _Asked, timeout: float) -> int:
        request.request_id = secrets.token_urlsafe(12)
        self._asked[request.request_id] = asked
        try:
            if asked.missing:
                await self._send(namespace, request)
                await asyncio.wait([asked.done], timeout=timeout)
        finally:
            del self._asked[request.request_id]
        return asked.missing
