"""What python-socketio's own managers publish: JSON, bytes as base64 behind placeholders."""

import base64
import binascii
from typing import Any, Final

import msgspec
import orjson

from protocol.redis_wire import (
    Broadcast,
    ForeignWire,
    WireError,
    event_name,
    room_names,
    told,
)

_PICKLE: Final = b"\x80"
"""The PROTO opcode, with which every pickle of protocol 2 and later begins; no JSON does."""

_METHODS: Final = frozenset({"disconnect", "enter_room", "leave_room", "close_room"})


class Order(msgspec.Struct, kw_only=True):
    """`method` is one of emit, disconnect, enter_room, leave_room, close_room. `rooms` select the
    sockets (one sid), `into` is the room they enter or leave.
    """

    method: str
    namespace: str = "/"
    rooms: tuple[str, ...] = ()
    into: tuple[str, ...] = ()
    broadcast: Broadcast | None = None


def decode_order(data: bytes) -> Order | None:
    """None for methods that are no business of ours (`callback`). Raises WireError; ForeignWire for
    a pickle, which is never opened: whoever may publish could run anything here.
    """
    if data[:1] == _PICKLE:
        raise ForeignWire("python-socketio before 5.14 publishes pickles, which are not read")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise WireError("no JSON") from None
    if not isinstance(body, dict):
        raise WireError("an order is a map")
    method, namespace = body.get("method"), body.get("namespace") or "/"
    if not isinstance(namespace, str):
        raise WireError("a namespace is a string")
    if method == "emit":
        return Order(method=method, namespace=namespace, broadcast=_broadcast(body, namespace))
    if method not in _METHODS:
        return None
    return Order(
        method=method,
        namespace=namespace,
        rooms=_rooms(body.get("sid")),
        into=_rooms(body.get("room")),
    )


def _broadcast(body: dict[str, Any], namespace: str) -> Broadcast:
    event = event_name(body.get("event"))
    data = body.get("data")
    if body.get("binary"):
        data = _with_bytes(data)
    return told(
        Broadcast(
            event=event,
            args=_args(data),
            namespace=namespace,
            rooms=_rooms(body.get("room")),
            except_rooms=_rooms(body.get("skip_sid")),
            uid="python",
        )
    )


def _args(data: Any) -> list[Any]:
    """A list of arguments; without any the library writes `[null]`, older ones the bare value."""
    args = data if isinstance(data, list) else [data]
    return [] if args == [None] else args


def _rooms(value: Any) -> tuple[str, ...]:
    return room_names(value if isinstance(value, list) or not value else [value])


def _with_bytes(data: Any) -> Any:
    """`[data with placeholders, base64, …]`."""
    if not isinstance(data, list) or not data:
        raise WireError("binary data is [data, attachment, …]")
    try:
        attachments = [base64.b64decode(part, validate=True) for part in data[1:]]
    except (binascii.Error, TypeError, ValueError):
        raise WireError("an attachment is base64") from None
    return _filled(data[0], attachments)


def _filled(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_filled(item, attachments) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_placeholder") is True:
        number = value.get("num")
        if not isinstance(number, int) or not 0 <= number < len(attachments):
            raise WireError("a placeholder without its attachment")
        return attachments[number]
    return {key: _filled(item, attachments) for key, item in value.items()}
