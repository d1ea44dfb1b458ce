"""The bytes of the classic Socket.IO Redis adapter (`@socket.io/redis-adapter` 8, notepack).

A broadcast is the msgpack array `[uid, packet, opts]` with
`packet = {type: 2, data: [event, *args], nsp}` and `opts = {rooms, except, flags}`. What only our
nodes understand stands in one more map of `opts`, `hub`; Node servers pass over it, so their
clients see the event as it was meant. Its last entry is the offset, so that a script on Redis can
finish a ready-made message by appending 26 bytes.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final

import msgpack
import msgspec

from protocol.events import Class, Emit
from protocol.payload import iso
from protocol.stock import Untellable, check_event

EMITTER_UID: Final = "emitter"
"""Sender of everything no server has delivered to its own sockets yet: every server acts on it."""

OFFSET_BYTES: Final = 26
"""An offset is `epoch-number`: 13 digits (ms since 1970), a hyphen, 12 digits."""

NARROW_ROOMS: Final = 4
"""An emit to at most so many rooms goes out once a room; a wider one once for its namespace."""

_NO_OFFSET: Final = "0" * OFFSET_BYTES
_EVENT: Final = 2
_BINARY_EVENT: Final = 5
_CLASSES: Final = frozenset({"alert", "room", "volatile"})
_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP_MARKS: Final = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff")


class WireError(ValueError):
    """A message on Redis that is not of this format. The text never quotes the message."""


class ForeignWire(WireError):
    """A message of a peer that speaks a wire which is not read here; the text names the peer."""


class Broadcast(msgspec.Struct, kw_only=True):
    """One event for the sockets that are in any of `rooms` (none: everybody in the namespace)
    and in none of `except_rooms`. `offset` is empty where the event cannot be recovered;
    `deadline`, and `at` when it was published, are in epoch seconds. `trace` names the work that
    caused it (hub.plumbing.telemetry.trace.mark).
    """

    event: str
    args: Sequence[Any]
    namespace: str = "/"
    rooms: tuple[str, ...] = ()
    except_rooms: tuple[str, ...] = ()
    klass: Class = "room"
    key: str = ""
    deadline: float | None = None
    at: float | None = None
    trace: str = ""
    offset: str = ""
    uid: str = EMITTER_UID


def of_emit(emit: Emit, at: float | None = None) -> Broadcast:
    return Broadcast(
        event=emit.event,
        args=(emit.data,),
        namespace=emit.namespace,
        rooms=emit.rooms,
        except_rooms=emit.except_rooms,
        klass=emit.klass,
        key=emit.key,
        deadline=emit.deadline,
        at=at,
        trace=emit.trace,
    )


# --- broadcasts ----------------------------------------------------------------------------------


def encode_broadcast(broadcast: Broadcast) -> bytes:
    """The whole message, to all its rooms at once."""
    return pack(_message(broadcast, broadcast.rooms, broadcast.except_rooms, _hub(broadcast)))


def encode_closed(broadcast: Broadcast) -> list[tuple[str | None, bytes]]:
    """Complete messages without an offset, each with the room whose channel it is for (None: the
    namespace's). At most NARROW_ROOMS rooms get one message each, excepting the rooms before it.
    """
    hub = _hub(broadcast)
    return [
        (room, pack(_message(broadcast, rooms, excepted, hub)))
        for room, rooms, excepted in _parts(broadcast)
    ]


def encode_open(broadcast: Broadcast) -> list[tuple[str | None, bytes]]:
    """As `encode_closed`, but each message lacks its offset (OFFSET_BYTES of ASCII) at the end.

    Servers that know only `rooms` and `except` reach the union of the rooms once. Ours read the
    union from `hub`, deliver it whole with the first message that arrives and pass over the
    others of the same offset: a socket that joins between two of them misses nothing.
    """
    hub = _hub(broadcast)
    if 1 < len(broadcast.rooms) <= NARROW_ROOMS:
        hub |= {"rooms": broadcast.rooms, "except": broadcast.except_rooms}
    hub["offset"] = _NO_OFFSET
    return [
        (room, pack(_message(broadcast, rooms, excepted, hub))[:-OFFSET_BYTES])
        for room, rooms, excepted in _parts(broadcast)
    ]


def _parts(broadcast: Broadcast) -> list[tuple[str | None, tuple[str, ...], tuple[str, ...]]]:
    """Channel's room, rooms and excepted rooms of each message."""
    rooms, excepted = broadcast.rooms, broadcast.except_rooms
    if not 1 <= len(rooms) <= NARROW_ROOMS:
        return [(None, rooms, excepted)]
    return [(room, (room,), (*excepted, *rooms[:place])) for place, room in enumerate(rooms)]


def decode_broadcast(data: bytes) -> Broadcast:
    """Accepts what the emitters of other languages make of the format (missing `except`, `flags`
    or `nsp`, empty strings for maps and lists, type 5, numeric rooms, strings that are no UTF-8).

    Raises WireError.
    """
    message = unpack(data)
    if not isinstance(message, list) or len(message) < 2:
        raise WireError("a broadcast is [uid, packet, opts]")
    broadcast = decode_parts(message[1], message[2] if len(message) > 2 else {})
    broadcast.uid = str(message[0])
    return broadcast


def is_ours(data: bytes) -> bool:
    """Whether one of our processes has published this broadcast. Raises WireError."""
    if b"\xa3hub" not in data:
        return False
    message = unpack(data)
    return isinstance(message, list) and len(message) > 2 and "hub" in _mapping(message[2])


def decode_parts(packet: Any, opts: Any) -> Broadcast:
    """A broadcast of its packet and its options. Raises WireError."""
    broadcast = _packet(packet)
    opts = _mapping(opts)
    broadcast.rooms = room_names(opts.get("rooms"))
    broadcast.except_rooms = room_names(opts.get("except"))
    if _mapping(opts.get("flags")).get("volatile"):
        broadcast.klass = "volatile"
    if "hub" in opts:
        _read_hub(broadcast, _mapping(opts["hub"]))
    return broadcast


def _packet(packet: Any) -> Broadcast:
    if not isinstance(packet, dict) or packet.get("type") not in (_EVENT, _BINARY_EVENT):
        raise WireError("a broadcast carries a packet of type 2")
    data = packet.get("data")
    if not isinstance(data, list) or not data:
        raise WireError("a packet's data is [event, …]")
    namespace = packet.get("nsp") or "/"
    if not isinstance(namespace, str):
        raise WireError("a namespace is a string")
    return told(Broadcast(event=event_name(data[0]), args=data[1:], namespace=namespace))


def event_name(value: Any) -> str:
    """JavaScript's servers take numbers for names, too. Raises WireError."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WireError("an event's name is a string or a number")
    return _number(value)


def told(broadcast: Broadcast) -> Broadcast:
    """The same, if stock clients can decode it: one event of another server would end all their
    connections. Raises WireError.
    """
    try:
        check_event(broadcast.event, broadcast.args)
    except Untellable as error:
        raise WireError(f"{error.code}: {error}") from None
    return broadcast


def encode_packet(broadcast: Broadcast) -> dict[str, Any]:
    data = [broadcast.event, *broadcast.args]
    return {"type": _EVENT, "data": data, "nsp": broadcast.namespace}


def _message(
    broadcast: Broadcast, rooms: Sequence[str], excepted: Sequence[str], hub: dict[str, Any]
) -> list[Any]:
    flags = {"volatile": True} if broadcast.klass == "volatile" else {}
    opts = {"rooms": rooms, "except": excepted, "flags": flags, "hub": hub}
    return [broadcast.uid, encode_packet(broadcast), opts]


def _hub(broadcast: Broadcast) -> dict[str, Any]:
    hub: dict[str, Any] = {"class": broadcast.klass}
    if broadcast.key:
        hub["key"] = broadcast.key
    if broadcast.deadline is not None:
        hub["deadline"] = broadcast.deadline
    if broadcast.at is not None:
        hub["at"] = broadcast.at
    if broadcast.trace:
        hub["trace"] = broadcast.trace
    return hub


def _read_hub(broadcast: Broadcast, hub: dict[str, Any]) -> None:
    klass, offset = hub.get("class"), hub.get("offset")
    deadline, at = hub.get("deadline"), hub.get("at")
    if klass in _CLASSES:
        broadcast.klass = klass
    if isinstance(deadline, int | float):
        broadcast.deadline = float(deadline)
    if isinstance(at, int | float):
        broadcast.at = float(at)
    if isinstance(offset, str) and len(offset) == OFFSET_BYTES:
        broadcast.offset = offset
    if "rooms" in hub:
        broadcast.rooms = room_names(hub["rooms"])
        broadcast.except_rooms = room_names(hub.get("except"))
    broadcast.key = str(hub.get("key", ""))
    broadcast.trace = str(hub.get("trace", ""))


def room_names(value: Any) -> tuple[str, ...]:
    """Rooms are strings; JavaScript's numbers are written as it writes them. Raises WireError."""
    if not value:
        return ()
    if not isinstance(value, list):
        raise WireError("rooms are a list")
    return tuple(_room(room) for room in value)


def _room(room: Any) -> str:
    if isinstance(room, str):
        return room
    if isinstance(room, bool) or not isinstance(room, int | float):
        raise WireError("a room is a string or a number")
    return _number(room)


def _number(value: float) -> str:
    if isinstance(value, float) and not isfinite(value):
        raise WireError("a number is finite")
    return str(int(value)) if value == int(value) else repr(value)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# --- values --------------------------------------------------------------------------------------


def pack(value: Any) -> bytes:
    """msgpack as notepack reads it. Integers over 64 bits become doubles, as they are in
    JavaScript. Raises WireError for what msgpack cannot say.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_plain, unicode_errors="surrogatepass")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(f"cannot be written as msgpack: {type(error).__name__}") from None
    return packed


def unpack(data: bytes) -> Any:
    """Plain JSON values and bytes; timestamps become ISO texts with ms and Z, as a Date does in
    JavaScript, and map keys strings. Raises WireError.
    """
    try:
        value = msgpack.unpackb(
            data, timestamp=3, ext_hook=_extension, unicode_errors="surrogatepass"
        )
    except UnicodeDecodeError:
        return _plain_tree(_unpack_loosely(data, raw=True), texts=True)
    except msgpack.StackError as error:
        raise WireError("nested too deep") from error
    except (msgpack.FormatError, msgpack.ExtraData, msgpack.OutOfData) as error:
        raise WireError(f"no msgpack: {type(error).__name__}") from None
    except ValueError:
        return _plain_tree(_unpack_loosely(data, raw=False))
    if any(mark in data for mark in _TIMESTAMP_MARKS):
        return _plain_tree(value)
    return value


def _unpack_loosely(data: bytes, *, raw: bool) -> Any:
    try:
        return msgpack.unpackb(
            data,
            raw=raw,
            timestamp=3,
            ext_hook=_extension,
            strict_map_key=False,
            unicode_errors="surrogatepass",
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise WireError(f"no msgpack: {type(error).__name__}") from None


def _extension(code: int, data: bytes) -> Any:
    """Type 0 of the older notepack: one byte is `undefined`, eight a Date in ms."""
    if code == 0 and len(data) == 8:
        return iso(_UNIX + timedelta(milliseconds=int.from_bytes(data, "big", signed=True)))
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, int):
        return float(value)
    raise TypeError(type(value).__name__)


def _plain_tree(value: Any, *, texts: bool = False) -> Any:
    """With `texts` (of a message whose strings and bytes could not be told apart) bytes that are
    UTF-8 become strings.
    """
    if isinstance(value, dict):
        return {_key(key): _plain_tree(item, texts=texts) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_tree(item, texts=texts) for item in value]
    if texts and isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return iso(value) if isinstance(value, datetime) else value


def _key(key: Any) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)
