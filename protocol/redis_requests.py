"""Requests between servers on the classic Socket.IO Redis adapter's channels, and their answers.

JSON with a `type`, except a broadcast that wants acks (7) and such an ack (9): msgpack.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

import msgspec
import orjson

from protocol.events import Revocation
from protocol.payload import iso
from protocol.redis_wire import (
    Broadcast,
    WireError,
    decode_parts,
    encode_packet,
    event_name,
    pack,
    room_names,
    told,
    unpack,
)
from protocol.stock import check_event

_ALLOWED_HEADERS: Final = frozenset({"host", "origin", "user-agent", "accept-language"})
_ALLOWED_QUERY: Final = frozenset({"EIO", "transport"})
_HANDSHAKE: Final = ("time", "address", "xdomain", "secure", "issued")


class Kind(IntEnum):
    SOCKETS = 0
    ALL_ROOMS = 1
    JOIN = 2
    LEAVE = 3
    DISCONNECT = 4
    FETCH = 5
    SERVER_SIDE_EMIT = 6
    BROADCAST = 7
    CLIENT_COUNT = 8
    ACK = 9
    REVOKE = 100
    """Ours alone: other servers pass over a type they do not know."""


class RemoteSocket(msgspec.Struct, kw_only=True):
    """A socket as other servers see it. Of the handshake only what `redacted` lets through."""

    id: str
    rooms: tuple[str, ...] = ()
    handshake: dict[str, Any] = {}
    data: Any = None


class Request(msgspec.Struct, kw_only=True):
    """`rooms` and `except_rooms` select sockets; `into` are the rooms to join or leave. With `sid`
    (the older form of 2, 3 and 4) it is about one socket and wants an answer. `keep_asked` stands
    in the hub's own orders: what a client asked for itself it keeps.
    """

    kind: Kind
    uid: str = ""
    request_id: str = ""
    rooms: tuple[str, ...] = ()
    except_rooms: tuple[str, ...] = ()
    into: tuple[str, ...] = ()
    sid: str = ""
    keep_asked: bool = False
    close: bool = False
    data: Sequence[Any] = ()
    broadcast: Broadcast | None = None
    timeout: float = 0.0
    revocation: Revocation | None = None


class Response(msgspec.Struct, kw_only=True):
    """`kind` is set for 6, 8 and 9 alone."""

    request_id: str
    kind: Kind | None = None
    sockets: list[Any] | None = None
    rooms: list[Any] | None = None
    data: Any = None
    client_count: int = 0


# --- requests ------------------------------------------------------------------------------------


def encode_request(request: Request) -> bytes:
    """Raises Untellable for an event that no stock client could be told, and WireError."""
    kind = request.kind
    body: dict[str, Any] = {"uid": request.uid, "type": int(kind)}
    if request.request_id:
        body["requestId"] = request.request_id
    if kind is Kind.BROADCAST:
        return _encode_asking(request, body)
    if kind is Kind.SOCKETS:
        body["rooms"] = request.rooms
    elif kind is Kind.SERVER_SIDE_EMIT:
        check_event(request.data[0], request.data[1:])
        body["data"] = request.data
    elif kind is not Kind.ALL_ROOMS:
        body["opts"] = {"rooms": request.rooms, "except": request.except_rooms}
    if kind in {Kind.JOIN, Kind.LEAVE}:
        body["rooms"] = request.into
    elif kind is Kind.DISCONNECT:
        body["close"] = request.close
    return to_json(body)


def encode_revocation(revocation: Revocation) -> bytes:
    """An order of no server in particular, so that each carries it out by hearing it."""
    return to_json({"type": int(Kind.REVOKE), "revocation": msgspec.to_builtins(revocation)})


def _encode_asking(request: Request, body: dict[str, Any]) -> bytes:
    assert request.broadcast is not None
    asked = request.broadcast
    check_event(asked.event, asked.args)
    body["packet"] = encode_packet(asked)
    flags = {"timeout": round(request.timeout * 1000)}
    body["opts"] = {"rooms": asked.rooms, "except": asked.except_rooms, "flags": flags}
    return pack(body)


def decode_request(data: bytes) -> Request:
    """Raises WireError."""
    body = _body(data)
    try:
        kind = Kind(body.get("type", -1))
    except ValueError:
        raise WireError("unknown type of request") from None
    opts = body.get("opts")
    opts = opts if isinstance(opts, dict) else {}
    request = Request(
        kind=kind,
        uid=_text(body, "uid"),
        request_id=_text(body, "requestId"),
        rooms=room_names(opts.get("rooms")),
        except_rooms=room_names(opts.get("except")),
        sid=_text(body, "sid") if not opts else "",
        close=bool(body.get("close")),
    )
    _read_kind(request, body, opts)
    return request


def _read_kind(request: Request, body: dict[str, Any], opts: dict[str, Any]) -> None:
    kind, data = request.kind, body.get("data")
    if kind is Kind.SOCKETS:
        request.rooms = room_names(body.get("rooms"))
    elif kind in {Kind.JOIN, Kind.LEAVE}:
        request.into = room_names([body.get("room")] if request.sid else body.get("rooms"))
        hub = opts.get("hub")
        request.keep_asked = isinstance(hub, dict) and hub.get("keepAsked") is True
    elif kind is Kind.SERVER_SIDE_EMIT:
        if not isinstance(data, list) or not data:
            raise WireError("a server-side emit's data is [event, …]")
        name, args = event_name(data[0]), data[1:]
        told(Broadcast(event=name, args=args))
        request.data = [name, *args]
    elif kind is Kind.BROADCAST:
        request.broadcast = decode_parts(body.get("packet"), opts)
        flags = opts.get("flags")
        timeout = flags.get("timeout") if isinstance(flags, dict) else None
        request.timeout = timeout / 1000 if isinstance(timeout, int | float) else 0.0
    elif kind is Kind.REVOKE:
        request.revocation = _revocation(body.get("revocation"))
    elif kind in {Kind.CLIENT_COUNT, Kind.ACK}:
        raise WireError("an answer among the requests")


def _revocation(told: object) -> Revocation:
    try:
        return msgspec.convert(told, Revocation)
    except msgspec.ValidationError:
        raise WireError("no revocation of tokens") from None


# --- answers -------------------------------------------------------------------------------------


def encode_sockets(request_id: str, sockets: Sequence[RemoteSocket]) -> bytes:
    """Answer to 5."""
    return to_json({"requestId": request_id, "sockets": [_socket(one) for one in sockets]})


def encode_sids(request_id: str, sids: Sequence[str]) -> bytes:
    """Answer to 0."""
    return to_json({"requestId": request_id, "sockets": list(sids)})


def encode_rooms(request_id: str, rooms: Sequence[str]) -> bytes:
    """Answer to 1."""
    return to_json({"requestId": request_id, "rooms": list(rooms)})


def encode_done(request_id: str) -> bytes:
    """Answer to the older form of 2, 3 and 4."""
    return to_json({"requestId": request_id})


def encode_served(request_id: str, data: Any) -> bytes:
    """Answer to 6."""
    return to_json({"type": int(Kind.SERVER_SIDE_EMIT), "requestId": request_id, "data": data})


def encode_client_count(request_id: str, count: int) -> bytes:
    """First answer to 7: how many clients of this server were asked."""
    return to_json({"type": int(Kind.CLIENT_COUNT), "requestId": request_id, "clientCount": count})


def encode_ack(request_id: str, args: Sequence[Any]) -> bytes:
    """What one client answered to 7; the protocol has room for its first argument."""
    body = {"type": int(Kind.ACK), "requestId": request_id}
    return pack(body | {"packet": args[0]} if args else body)


def decode_response(data: bytes) -> Response:
    """Raises WireError."""
    body = _body(data)
    kind = body.get("type")
    count = body.get("clientCount", 0)
    sockets, rooms = body.get("sockets"), body.get("rooms")
    return Response(
        request_id=_text(body, "requestId"),
        kind=Kind(kind) if kind in (6, 8, 9) else None,
        sockets=sockets if isinstance(sockets, list) else None,
        rooms=rooms if isinstance(rooms, list) else None,
        data=body.get("packet") if kind == Kind.ACK else body.get("data"),
        client_count=count if isinstance(count, int) else 0,
    )


def remote_socket(value: Any) -> RemoteSocket | None:
    """One of the sockets another server answered; None for what is none."""
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        return None
    rooms, handshake = value.get("rooms"), value.get("handshake")
    return RemoteSocket(
        id=value["id"],
        rooms=room_names(rooms) if isinstance(rooms, list) else (),
        handshake=redacted(handshake) if isinstance(handshake, dict) else {},
        data=value.get("data"),
    )


def _socket(socket: RemoteSocket) -> dict[str, Any]:
    return {
        "id": socket.id,
        "handshake": redacted(socket.handshake),
        "rooms": socket.rooms,
        "data": socket.data if socket.data is not None else {},
    }


def redacted(handshake: Mapping[str, Any]) -> dict[str, Any]:
    """What other servers may know of a handshake. Tokens stand in `auth`, headers, cookies and
    queries, so of these only harmless entries pass.
    """
    passed = {name: handshake[name] for name in _HANDSHAKE if name in handshake}
    headers, query = handshake.get("headers"), handshake.get("query")
    passed["headers"] = _only(headers, _ALLOWED_HEADERS)
    passed["query"] = _only(query, _ALLOWED_QUERY)
    passed["auth"] = {}
    return passed


def _only(value: Any, names: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    return {name: item for name, item in value.items() if name in names}


# --- JSON ----------------------------------------------------------------------------------------


def to_json(value: Any) -> bytes:
    """Bytes become what Node's Buffer becomes. Raises WireError."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        raise WireError(f"cannot be written as JSON: {type(error).__name__}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"type": "Buffer", "data": list(bytes(value))}
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(type(value).__name__)


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data) if data[:1] == b"{" else unpack(data)
    except orjson.JSONDecodeError:
        raise WireError("no JSON") from None
    if not isinstance(body, dict):
        raise WireError("a request or an answer is a map")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""
