"""Socket.IO packets, both parsers: the default one (JSON text and attachments) and msgpack.

Encoding is done once per packet; orjson first, the library's ``Packet`` for what orjson does not
know (bytes, integers over 64 bits, lone surrogates). Decoding checks what the official parser
checks (socket.io-parser 4.2.7 ``isPayloadValid``) and bounds depth and attachments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgpack
import orjson
from socketio.packet import Packet as LibraryPacket

from .frames import BINARY, TEXT, Part

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

DEFAULT: Final = 0
MSGPACK: Final = 1

RESERVED = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
MAX_ACK_DIGITS = 15  # below 2^53, so that a JavaScript peer can name it
MAX_NAMESPACE = 128


class BadPacket(ValueError):
    """A packet its sender may not send; the text is the counter's label."""


@dataclass(slots=True)
class Packet:
    """One decoded packet; ``attachments`` is how many binary messages must still follow, ``size``
    the bytes of all its messages."""

    type: int
    namespace: str
    id: int | None
    data: Any
    attachments: int = 0
    size: int = 0


def prefix_of(namespace: str) -> bytes:
    """How a namespace stands in front of id and data."""
    return b"" if namespace == "/" else namespace.encode() + b","


def encode(codec: int, kind: int, namespace: str, id: int | None, data: Any) -> tuple[Part, ...]:
    """The messages of one packet.

    Raises TypeError where ``data`` holds what neither orjson nor the library can encode.
    """
    if codec == MSGPACK:
        return (encode_msgpack(kind, namespace, id, data),)
    try:
        body = b"" if data is None else orjson.dumps(data)
    except TypeError:
        return _encode_by_library(kind, namespace, id, data)
    number = b"" if id is None else b"%d" % id
    return ((TEXT, b"4%d%s%s%s" % (kind, prefix_of(namespace), number, body)),)


def _encode_by_library(kind: int, namespace: str, id: int | None, data: Any) -> tuple[Part, ...]:
    encoded = LibraryPacket(kind, data=data, namespace=namespace, id=id).encode()
    if isinstance(encoded, str):
        return ((TEXT, b"4" + encoded.encode()),)
    head, *attachments = encoded
    return ((TEXT, b"4" + head.encode()), *((BINARY, bytes(part)) for part in attachments))


def encode_msgpack(kind: int, namespace: str, id: int | None, data: Any) -> Part:
    """One binary message; a DISCONNECT carries no ``data``, or the official client throws."""
    packet: dict[str, Any] = {"type": kind, "nsp": namespace}
    if data is not None:
        packet["data"] = data
    if id is not None:
        packet["id"] = id
    return BINARY, msgpack.packb(packet, default=_as_text)


def _as_text(value: Any) -> Any:
    """What orjson encodes by itself and msgpack does not."""
    return orjson.loads(orjson.dumps(value))


def decode(payload: bytes) -> Packet:
    """A text message without its Engine.IO type. Raises BadPacket."""
    kind = payload[0] - 48 if payload else -1
    if not 0 <= kind <= BINARY_ACK or kind == CONNECT_ERROR:
        raise BadPacket("packet_type")
    at, attachments = 1, 0
    if kind in (BINARY_EVENT, BINARY_ACK):
        dash = payload.find(b"-", 1, 6)
        if dash < 2 or not payload[1:dash].isdigit():
            raise BadPacket("attachments")
        attachments, at = int(payload[1:dash]), dash + 1
    namespace, at = _namespace(payload, at)
    id, at = _ack_id(payload, at)
    body = payload[at:]
    data = loads(body) if body else None
    packet = Packet(kind, namespace, id, data, attachments)
    check(packet)
    return packet


def _namespace(payload: bytes, at: int) -> tuple[str, int]:
    if payload[at : at + 1] != b"/":
        return "/", at
    end = payload.find(b",", at, at + MAX_NAMESPACE + 1)
    raw, after = (payload[at:], len(payload)) if end < 0 else (payload[at:end], end + 1)
    if len(raw) > MAX_NAMESPACE:
        raise BadPacket("namespace")
    try:
        return raw.partition(b"?")[0].decode(), after
    except UnicodeDecodeError:
        raise BadPacket("utf8") from None


def _ack_id(payload: bytes, at: int) -> tuple[int | None, int]:
    end = at
    while end < len(payload) and 48 <= payload[end] <= 57:
        end += 1
        if end - at > MAX_ACK_DIGITS:
            raise BadPacket("ack_id")
    return (int(payload[at:end]), end) if end > at else (None, at)


def loads(body: bytes) -> Any:
    """JSON of a peer. Raises BadPacket."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadPacket("json") from None


def fault_of(payload: bytes, fault: str) -> str:
    """The fault of a text message: bad UTF-8 before all others (RFC 6455 §8.1)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return "utf8"
    return fault


def check(packet: Packet) -> None:
    """What the official parser asks of each type. Raises BadPacket."""
    kind, data = packet.type, packet.data
    if kind in (EVENT, BINARY_EVENT):
        check_event(data)
    elif kind in (ACK, BINARY_ACK):
        if not isinstance(data, list) or packet.id is None:
            raise BadPacket("payload")
    elif kind == CONNECT:
        if data is not None and not isinstance(data, dict):
            raise BadPacket("payload")
    elif data is not None:
        raise BadPacket("payload")


def check_event(data: Any) -> None:
    """An event is a list that begins with its name, which is none of the reserved ones."""
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise BadPacket("payload")
    if data[0] in RESERVED:
        raise BadPacket("reserved_event")


def depth_over(data: Any, limit: int) -> bool:
    """Whether lists and maps nest deeper than ``limit``."""
    level = [data] if isinstance(data, (dict, list)) else []
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def reconstruct(data: Any, attachments: list[bytes]) -> Any:
    """The data with each placeholder replaced by its attachment. Raises BadPacket."""
    if isinstance(data, list):
        return [reconstruct(item, attachments) for item in data]
    if not isinstance(data, dict):
        return data
    if data.get("_placeholder") is True:
        number = data.get("num")
        if type(number) is not int or not 0 <= number < len(attachments):
            raise BadPacket("attachments")
        return attachments[number]
    return {key: reconstruct(value, attachments) for key, value in data.items()}


def decode_msgpack(payload: bytes) -> Packet:
    """One binary message of the msgpack parser. Raises BadPacket."""
    try:
        fields = msgpack.unpackb(payload, ext_hook=_extension, strict_map_key=False, timestamp=1)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        raise BadPacket("msgpack") from None
    if not isinstance(fields, dict):
        raise BadPacket("msgpack")
    kind, namespace, id = fields.get("type"), fields.get("nsp"), fields.get("id")
    if type(kind) is not int or kind not in (CONNECT, DISCONNECT, EVENT, ACK):
        raise BadPacket("packet_type")
    if not isinstance(namespace, str) or not 0 < len(namespace) <= MAX_NAMESPACE:
        raise BadPacket("namespace")
    if id is not None and (type(id) is not int or not 0 <= id < 10**MAX_ACK_DIGITS):
        raise BadPacket("ack_id")
    packet = Packet(kind, namespace, id, fields.get("data"))
    if kind == DISCONNECT:
        packet.data = None
    check(packet)
    return packet


def _extension(code: int, data: bytes) -> Any:
    """notepack writes ``undefined`` as extension 0 with one byte, dates as 0 with eight (ms)."""
    if code != 0 or len(data) not in (1, 8):
        raise ValueError("unknown extension")
    return int.from_bytes(data, "big", signed=True) if len(data) == 8 else None
