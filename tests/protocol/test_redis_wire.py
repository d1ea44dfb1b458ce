"""The adapter's bytes: captured from the official packages, and whatever clients may send."""

import contextlib
import math
from datetime import UTC, datetime
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.events import Emit
from protocol.redis_wire import (
    OFFSET_BYTES,
    Broadcast,
    WireError,
    decode_broadcast,
    encode_broadcast,
    encode_closed,
    encode_open,
    of_emit,
    pack,
    unpack,
)

OFFSET = "1795251600000-000000000042"

# --- captures (socketio.md §4.1) -----------------------------------------------------------------

ONE_ROOM = bytes.fromhex(
    "93a62d447132674e83a47479706502a46461746192a2657601a36e7370a12f"
    "83a5726f6f6d7391a5726f6f6d31a6657863657074 90a5666c61677380".replace(" ", "")
)
EMITTER = bytes.fromhex(
    "93a7656d697474657283a47479706502a46461746192a2657601a36e7370a12f"
    "83a5726f6f6d7390a5666c61677380a665786365707490"
)


def test_the_official_adapters_broadcast_is_read() -> None:
    assert decode_broadcast(ONE_ROOM) == Broadcast(
        event="ev", args=[1], rooms=("room1",), uid="-Dq2gN"
    )
    assert decode_broadcast(EMITTER) == Broadcast(event="ev", args=[1], uid="emitter")


def test_binary_and_flags_are_read() -> None:
    opts = {"rooms": ["room1", "room2"], "except": ["room3"], "flags": {"volatile": True}}
    data = msgpack.packb(["u", {"type": 2, "data": ["bin", b"\1\2\3"], "nsp": "/a"}, opts])
    assert decode_broadcast(data) == Broadcast(
        event="bin",
        args=[b"\1\2\3"],
        namespace="/a",
        rooms=("room1", "room2"),
        except_rooms=("room3",),
        klass="volatile",
        uid="u",
    )


def test_official_servers_find_their_fields_where_they_look() -> None:
    broadcast = Broadcast(event="ev", args=[{"a": 1}], rooms=("r1", "r2"), except_rooms=("x",))
    messages = encode_open(broadcast)
    first, second = (msgpack.unpackb(data + OFFSET.encode()) for _, data in messages)
    assert [room for room, _ in messages] == ["r1", "r2"]
    assert first[1] == {"type": 2, "data": ["ev", {"a": 1}], "nsp": "/"}
    assert (first[2]["rooms"], first[2]["except"], first[2]["flags"]) == (["r1"], ["x"], {})
    assert (second[2]["rooms"], second[2]["except"]) == (["r2"], ["x", "r1"])


@pytest.mark.parametrize(
    ("opts", "rooms"),
    [
        ({}, ()),
        ({"rooms": "", "flags": ""}, ()),
        ({"rooms": None, "except": None, "flags": None}, ()),
        ({"rooms": [1, "a", 2.0, 1.5], "flags": {"volatile": False, "compress": False}},
         ("1", "a", "2", "1.5")),
    ],
)  # fmt: skip
def test_other_languages_emitters_are_understood(opts: Any, rooms: tuple[str, ...]) -> None:
    for packet in ({"type": 5, "data": ["ev", 1]}, {"type": 2, "data": ["ev", 1], "nsp": "/"}):
        broadcast = decode_broadcast(msgpack.packb(["emitter", packet, opts]))
        assert (broadcast.namespace, broadcast.rooms, broadcast.klass) == ("/", rooms, "room")


def test_times_become_what_a_date_becomes() -> None:
    moment = datetime(2026, 11, 21, 9, 5, 0, 123000, tzinfo=UTC)
    as_new = msgpack.packb({"at": moment}, datetime=True)
    ms = int(moment.timestamp() * 1000)
    as_old = msgpack.packb({"at": msgpack.ExtType(0, ms.to_bytes(8, "big"))})
    expected = {"at": "2026-11-21T09:05:00.123Z"}
    assert unpack(as_new) == expected
    assert unpack(as_old) == expected
    assert unpack(pack({"at": moment})) == expected
    assert unpack(msgpack.packb([msgpack.ExtType(0, b"\0")])) == [None]


def test_old_raw_strings_and_odd_keys_are_read() -> None:
    assert unpack(b"\x82\xa1k\xa2\xff\xfe\xa1t\xa2ok") == {"k": b"\xff\xfe", "t": "ok"}
    assert unpack(msgpack.packb({1: "a", None: "b"})) == {"1": "a", "None": "b"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x93",
        msgpack.packb([]),
        msgpack.packb(["u"]),
        msgpack.packb(["u", []]),
        msgpack.packb(["u", {"type": 2}, {}]),
        msgpack.packb(["u", {"type": 0, "data": ["ev"]}, {}]),
        msgpack.packb(["u", {"type": 2, "data": []}, {}]),
        msgpack.packb(["u", {"type": 2, "data": [True]}, {}]),
        msgpack.packb(["u", {"type": 2, "data": ["ev"], "nsp": 5}, {}]),
        msgpack.packb(["u", {"type": 2, "data": ["ev"]}, {"rooms": "room"}]),
        msgpack.packb(["u", {"type": 2, "data": ["ev"]}, {"rooms": [[]]}]),
        msgpack.packb(["u", {"type": 2, "data": ["ev"]}, {"rooms": [True]}]),
        b"\xd7\xff" + b"\xff" * 8,
        b"\x91" * 2000,
        b'{"type":2}',
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_broadcast(data)


@given(st.binary(max_size=200))
def test_noise_is_refused_with_one_kind_of_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_broadcast(data)


# --- properties ----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
payloads = st.recursive(
    scalars | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
rooms = st.lists(texts.filter(bool), max_size=6, unique=True).map(tuple)


def exact(value: Any) -> str:
    """Tells 1 from 1.0 from True, and -0.0 from 0.0."""
    return repr(value)


@given(payloads)
@example({"_placeholder": True, "num": 0})
@example([-0.0, 1.0, 1, True, 2**63, -(2**63), 5e-324, 1.7976931348623157e308])
@example({"": "\x00\ud800", "한글": "제주 🍊"})
@example({"at": b"\xd6\xff\x00\x00\x00\x00"})
@example(["\xd6\xff", b"\xc7\x0c\xff"])
def test_any_payload_survives_byte_for_byte(payload: Any) -> None:
    broadcast = Broadcast(event="x", args=[payload])
    there = decode_broadcast(encode_broadcast(broadcast))
    assert exact(there.args) == exact([payload])


@given(json_values)
def test_what_a_client_sent_as_json_leaves_as_the_same_json(value: Any) -> None:
    try:
        sent = orjson.dumps(value)
    except TypeError:
        return  # lone surrogates: no UTF-8, so no client can send them in a text frame
    received = decode_broadcast(
        encode_broadcast(Broadcast(event="x", args=[orjson.loads(sent)]))
    ).args[0]
    assert orjson.dumps(received) == orjson.dumps(orjson.loads(sent))


@given(
    data=payloads,
    rooms=rooms,
    excepted=rooms,
    klass=st.sampled_from(["alert", "room"]),
    deadline=st.none() | st.floats(0, 1e11),
)
def test_every_message_of_an_emit_says_the_whole_of_it(
    data: Any, rooms: tuple[str, ...], excepted: tuple[str, ...], klass: Any, deadline: Any
) -> None:
    emit = Emit(
        id="i",
        event="x",
        rooms=rooms,
        except_rooms=excepted,
        data={"d": data},
        klass=klass,
        deadline=deadline,
    )
    wanted = of_emit(emit)
    messages = encode_open(wanted)
    assert len(messages) == (len(rooms) if 1 <= len(rooms) <= 4 else 1)
    for _, message in messages:
        whole = decode_broadcast(message + OFFSET.encode())
        assert whole.offset == OFFSET
        whole.offset = ""
        whole.args = tuple(whole.args)
        assert repr(whole) == repr(wanted)


@given(rooms=rooms, excepted=rooms, members=st.lists(st.frozensets(texts), max_size=5))
def test_servers_that_know_only_rooms_and_except_reach_the_union_once(
    rooms: tuple[str, ...], excepted: tuple[str, ...], members: list[frozenset[str]]
) -> None:
    pool = [*rooms, *excepted]
    sockets = [{pool[hash(r) % len(pool)] for r in m} if pool else set() for m in members]
    broadcast = Broadcast(event="x", args=[], rooms=rooms, except_rooms=excepted)
    reached = [0] * len(sockets)
    for _, message in encode_closed(broadcast):
        part = decode_broadcast(message)
        for place, joined in enumerate(sockets):
            if (not part.rooms or joined & set(part.rooms)) and not joined & set(part.except_rooms):
                reached[place] += 1
    for joined, times in zip(sockets, reached, strict=True):
        meant = (not rooms or joined & set(rooms)) and not joined & set(excepted)
        assert times == (1 if meant else 0)


def test_integers_over_64_bits_become_doubles() -> None:
    assert unpack(pack({"n": [2**64, -(2**63) - 1, 2**64 - 1]})) == {
        "n": [float(2**64), float(-(2**63) - 1), 2**64 - 1]
    }


def test_what_msgpack_cannot_say_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (object(), {1, 2}, endless):
        with pytest.raises(WireError):
            pack(value)


def test_not_a_number_stays_one() -> None:
    assert math.isnan(unpack(pack([math.nan]))[0])


def test_the_offset_is_the_end_of_the_message() -> None:
    ((_, message),) = encode_open(Broadcast(event="x", args=[{}], rooms=("r",)))
    assert len(OFFSET) == OFFSET_BYTES
    assert decode_broadcast(message + OFFSET.encode()).offset == OFFSET
