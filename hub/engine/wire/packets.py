"""Socket.IO packets, both parsers: the default one (JSON text and attachments) and msgpack.

Encoding is done once per packet; orjson first, the standard library for what orjson does not know
(bytes, integers over 64 bits, lone surrogates). Decoding refuses what the official parser refuses
(socket.io-parser 4.2.7 `isPayloadValid`) and takes what it takes; tests ask both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgpack
import orjson

from hub.engine.wire.frames import BINARY, TEXT, Part
from protocol.stock import RESERVED_EVENTS, check_event, check_values

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

DEFAULT: Final = 0
MSGPACK: Final = 1

EXACT_DIGITS = 15
"""An integer of so many is below 2^53: JavaScript knows it exactly."""

TOO_DEEP: Final = "too_deep"

DIGITS: Final = re.compile(rb"[0-9]*")
EVENT_NAME: Final = re.compile(rb'[ \t\r\n]*\[[ \t\r\n]*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)')
"""The name at the beginning of an event's JSON."""


class BadPacket(ValueError):
    """A packet its sender may not send; the text is the counter's label."""


@dataclass(slots=True)
class Packet:
    """One decoded packet; `attachments` is how many binary messages must still follow, `size`
    the bytes of all its messages. With a `fault` it is refused by an answer and the session goes
    on; of an event `data` is then the name alone. `data` is None where there was none.
    """

    type: int
    namespace: str
    id: int | None
    data: Any
    attachments: int = 0
    size: int = 0
    fault: str = ""

    def refuse(self, fault: str, name: str = "") -> None:
        self.fault, self.data = fault, [name] if self.type in (EVENT, BINARY_EVENT) else None


def prefix_of(namespace: str) -> bytes:
    """How a namespace stands in front of id and data."""
    return b"" if namespace == "/" else namespace.encode() + b","


def encode(codec: int, kind: int, namespace: str, id: int | None, data: Any) -> tuple[Part, ...]:
    """The messages of one packet.

    Raises Untellable for what would end the connection of a stock client, TypeError for values
    without an encoding.
    """
    if kind == EVENT and data[0] in RESERVED_EVENTS:
        check_event(data[0], ())
    if codec == MSGPACK:
        return (encode_msgpack(kind, namespace, id, data),)
    try:
        body = b"" if data is None else orjson.dumps(data)
    except TypeError:
        return _encode_slowly(kind, namespace, id, data)
    return ((TEXT, b"4%d%s%s" % (kind, _head(namespace, id), body)),)


def _head(namespace: str, id: int | None) -> bytes:
    return prefix_of(namespace) + (b"" if id is None else b"%d" % id)


def _encode_slowly(kind: int, namespace: str, id: int | None, data: Any) -> tuple[Part, ...]:
    """Bytes become attachments (only events and acknowledgements have any)."""
    check_values(data if isinstance(data, list) else [data])
    attachments: list[bytes] = []
    body = json.dumps(
        _without_bytes(data, attachments), separators=(",", ":"), allow_nan=False, default=_as_text
    ).encode()
    if not attachments:
        return ((TEXT, b"4%d%s%s" % (kind, _head(namespace, id), body)),)
    if kind not in (EVENT, ACK):
        raise TypeError("bytes go with events and acknowledgements only")
    kind += BINARY_EVENT - EVENT
    head = b"4%d%d-%s%s" % (kind, len(attachments), _head(namespace, id), body)
    return ((TEXT, head), *((BINARY, part) for part in attachments))


def _without_bytes(value: Any, attachments: list[bytes]) -> Any:
    """With a placeholder for each binary part, and what JSON.stringify makes of numbers that JSON
    does not know (null) or that are too long for Python to print."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _without_bytes(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_bytes(item, attachments) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if type(value) is int and value.bit_length() > 64:
        return _as_double(value)
    return value


def _as_double(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def encode_msgpack(kind: int, namespace: str, id: int | None, data: Any) -> Part:
    """One binary message; a DISCONNECT carries no `data`, or the official client throws."""
    packet: dict[str, Any] = {"type": kind, "nsp": namespace}
    if data is not None:
        packet["data"] = data
    if id is not None:
        packet["id"] = id
    return BINARY, msgpack.packb(packet, default=_as_text, unicode_errors="surrogatepass")


def _as_text(value: Any) -> Any:
    """What orjson encodes by itself and the other encoders do not."""
    return _as_double(value) if isinstance(value, int) else orjson.loads(orjson.dumps(value))


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
    packet = Packet(kind, namespace, id, None, attachments)
    body = payload[at:]
    if body:
        try:
            packet.data = loads(body)
        except RecursionError:
            packet.refuse(TOO_DEEP, name_of(body) if kind in (EVENT, BINARY_EVENT) else "")
            return packet
        check(packet)
    return packet


def _namespace(payload: bytes, at: int) -> tuple[str, int]:
    if payload[at : at + 1] != b"/":
        return "/", at
    end = payload.find(b",", at)
    raw, after = (payload[at:], len(payload)) if end < 0 else (payload[at:end], end + 1)
    try:
        return raw.partition(b"?")[0].decode(), after
    except UnicodeDecodeError:
        raise BadPacket("utf8") from None


def _ack_id(payload: bytes, at: int) -> tuple[int | None, int]:
    """A longer one is rounded as JavaScript's numbers are; one that is infinite there is none."""
    found = DIGITS.match(payload, at)
    assert found is not None
    digits, end = found[0], found.end()
    if not digits:
        return None, at
    if len(digits) <= EXACT_DIGITS:
        return int(digits), end
    number = float(digits)
    return (int(Decimal(repr(number))) if isfinite(number) else None), end


def loads(body: bytes) -> Any:
    """JSON of a peer, as JSON.parse reads it. Raises BadPacket, and RecursionError for what nests
    deeper than any reader here goes."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _loads_slowly(body)


def _loads_slowly(body: bytes) -> Any:
    """What JSON.parse takes and orjson does not: lone surrogates (half an emoji, as `substring`
    makes them) and numbers beyond all doubles."""
    try:
        return _AS_JAVASCRIPT.decode(body.decode())
    except ValueError:
        raise BadPacket("json") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= EXACT_DIGITS else float(digits)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


_AS_JAVASCRIPT: Final = json.JSONDecoder(parse_int=_integer, parse_constant=_no_number)


def name_of(body: bytes) -> str:
    """The name of an event whose JSON cannot be read to its end. Raises BadPacket."""
    found = EVENT_NAME.match(body)
    if found is None:
        raise BadPacket("payload")
    name = [loads(found[1])]
    check_name(name)
    return str(name[0])


def fault_of(payload: bytes, fault: str) -> str:
    """The fault of a text message: bad UTF-8 before all others (RFC 6455 §8.1)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return "utf8"
    return fault


def check(packet: Packet) -> None:
    """What the official parser asks of each type's data. Raises BadPacket."""
    kind, data = packet.type, packet.data
    if kind in (EVENT, BINARY_EVENT):
        check_name(data)
    elif kind in (ACK, BINARY_ACK):
        if not isinstance(data, list):
            raise BadPacket("payload")
    elif kind != CONNECT or not isinstance(data, dict):
        raise BadPacket("payload")


def check_name(data: Any) -> None:
    """An event is a list that begins with its name, which is none of the reserved ones; a number
    is a name in JavaScript, and becomes the text it is there."""
    if not isinstance(data, list) or not data:
        raise BadPacket("payload")
    name = data[0]
    if not isinstance(name, str):
        if isinstance(name, bool) or not isinstance(name, (int, float)):
            raise BadPacket("payload")
        data[0] = number_text(name)
    elif name in RESERVED_EVENTS:
        raise BadPacket("reserved_event")


def number_text(number: float) -> str:
    """As JavaScript writes it (ECMA-262, Number::toString)."""
    value = float(number)
    if not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    return repr(value).replace("e-0", "e-").replace(".0e", "e")


def depth_over(data: Any, limit: int) -> bool:
    """Whether lists and maps nest deeper than `limit`."""
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
    """One binary message of the msgpack parser. Raises BadPacket.

    The official parser asks only that an event's data is a list: a name that is none is refused by
    an answer. (An event may nest 1,000 levels here; msgpack reads no deeper.)
    """
    fields = _unpack(payload)
    if not isinstance(fields, dict):
        raise BadPacket("msgpack")
    kind, namespace, data = _whole(fields.get("type")), fields.get("nsp"), fields.get("data")
    if kind not in (CONNECT, DISCONNECT, EVENT, ACK):
        raise BadPacket("packet_type")
    if not isinstance(namespace, str):
        raise BadPacket("namespace")
    id = _whole(fields.get("id"))
    if id is None and fields.get("id") is not None:
        raise BadPacket("ack_id")
    packet = Packet(kind, namespace, id, None if kind == DISCONNECT else data)
    if kind == EVENT and isinstance(data, list):
        try:
            check_name(data)
        except BadPacket as fault:
            name = data[0] if data else ""
            packet.refuse(str(fault), name if isinstance(name, str) else "")
    elif kind in (EVENT, ACK) or data is not None:
        check(packet)
    return packet


def _whole(value: Any) -> int | None:
    """An integer; JavaScript has them among its doubles."""
    if type(value) is float and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value if type(value) is int else None


def _unpack(payload: bytes) -> Any:
    """As notepack reads it: texts that are no UTF-8, keys of any kind. Raises BadPacket."""
    errors, names = "surrogatepass", None
    for _ in range(3):
        try:
            return msgpack.unpackb(
                payload,
                ext_hook=_extension,
                strict_map_key=False,
                timestamp=1,
                unicode_errors=errors,
                object_pairs_hook=names,
            )
        except UnicodeDecodeError:
            errors = "replace"
        except TypeError:  # a list or a map as a key
            names = _by_text
        except (ValueError, OverflowError, RecursionError, msgpack.UnpackException):
            break
    raise BadPacket("msgpack")


def _by_text(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {key if isinstance(key, str) else repr(key): value for key, value in pairs}


def _extension(code: int, data: bytes) -> Any:
    """notepack writes `undefined` as extension 0 with one byte, dates as 0 with eight (ms), and
    reads any other one as a list of its number and its bytes."""
    if code != 0 or len(data) not in (1, 8):
        return [code, data]
    return int.from_bytes(data, "big", signed=True) if len(data) == 8 else None
