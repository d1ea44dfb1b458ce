"""What stock clients cannot decode is refused wherever an event is made or comes from."""

from typing import Any

import msgpack
import orjson
import pytest

from hub.engine.wire.packets import ACK, DEFAULT, EVENT, MSGPACK, encode
from protocol.errors import Code
from protocol.python_wire import decode_order
from protocol.redis_requests import Kind, Request, decode_request, encode_request
from protocol.redis_wire import Broadcast, WireError, decode_broadcast
from protocol.stock import MOST_ATTACHMENTS, MOST_LEVELS, RESERVED_EVENTS, Untellable, check_event


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ELEVEN = [bytes([number]) for number in range(MOST_ATTACHMENTS + 1)]
UNTELLABLE: dict[str, tuple[str, list[Any]]] = {
    "eleven parts": ("x", ELEVEN),
    "eleven parts in maps": ("x", [{"a": [{str(n): part} for n, part in enumerate(ELEVEN)]}]),
    "a placeholder beside a part": ("x", [{"_placeholder": True, "num": 5}, b"1"]),
    "a placeholder in the right place": ("x", [b"1", {"a": {"_placeholder": True, "num": 0}}]),
    "too deep": ("x", [nested(MOST_LEVELS)]),
    **{name: (name, [{}]) for name in sorted(RESERVED_EVENTS)},
}
TELLABLE: dict[str, tuple[str, list[Any]]] = {
    "ten parts": ("x", [{"a": ELEVEN[1:]}]),
    "a placeholder alone": ("x", [{"_placeholder": True, "num": 5}]),
    "one that is none": ("x", [{"_placeholder": 1}, b"1"]),
    "deep": ("x", [nested(MOST_LEVELS - 1)]),
    "a star": ("*", []),
    "an empty name": ("", []),
}

bad = pytest.mark.parametrize(("name", "args"), UNTELLABLE.values(), ids=UNTELLABLE)
good = pytest.mark.parametrize(("name", "args"), TELLABLE.values(), ids=TELLABLE)


@pytest.mark.fault(3, 26)
@bad
def test_it_is_refused_with_a_code_before_it_is_sent(name: str, args: list[Any]) -> None:
    with pytest.raises(Untellable) as refused:
        check_event(name, args)
    assert refused.value.code is Code.INVALID_PAYLOAD
    emit = Request(kind=Kind.SERVER_SIDE_EMIT, data=[name, *args])
    asking = Request(kind=Kind.BROADCAST, broadcast=Broadcast(event=name, args=args))
    for request in (emit, asking):
        with pytest.raises(Untellable):
            encode_request(request)


@pytest.mark.fault(3, 26)
@bad
def test_it_is_refused_from_other_servers(name: str, args: list[Any]) -> None:
    packet = {"type": 2, "data": [name, *args], "nsp": "/"}
    with pytest.raises(WireError, match="INVALID_PAYLOAD"):
        decode_broadcast(msgpack.packb(["node", packet, {"rooms": []}]))
    with pytest.raises(WireError, match="INVALID_PAYLOAD"):
        decode_request(msgpack.packb({"type": 7, "packet": packet, "opts": {}}))
    with pytest.raises(WireError, match="INVALID_PAYLOAD"):
        decode_request(msgpack.packb({"type": 6, "data": [name, *args]}))


@pytest.mark.fault(3, 26)
@good
def test_what_they_can_decode_passes(name: str, args: list[Any]) -> None:
    check_event(name, args)
    packet = {"type": 2, "data": [name, *args], "nsp": "/"}
    assert decode_broadcast(msgpack.packb(["node", packet, {}])).args == args
    assert encode(DEFAULT, EVENT, "/", None, [name, *args])


@pytest.mark.fault(3, 26)
@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
def test_python_socketios_emitters_are_refused_too(name: str) -> None:
    def order(**fields: Any) -> bytes:
        return orjson.dumps({"method": "emit", "namespace": "/", **fields})

    with pytest.raises(WireError, match="INVALID_PAYLOAD"):
        decode_order(order(event=name, data=[{}]))
    places = [{"_placeholder": True, "num": number} for number in range(11)]
    with pytest.raises(WireError, match="more than 10 binary parts"):
        decode_order(order(event="x", data=[places, *["AA=="] * 11], binary=True))


@pytest.mark.fault(2)
@pytest.mark.parametrize(("name", "text"), [(7, "7"), (7.0, "7"), (1.5, "1.5")])
def test_numeric_names_of_javascript_are_names(name: float, text: str) -> None:
    packet = {"type": 2, "data": [name, 1], "nsp": "/"}
    assert decode_broadcast(msgpack.packb(["node", packet, {}])).event == text
    order = decode_order(orjson.dumps({"method": "emit", "event": name, "data": [1]}))
    assert order is not None
    assert order.broadcast is not None
    assert order.broadcast.event == text


@pytest.mark.fault(3)
@bad
def test_the_engine_sends_none_either(name: str, args: list[Any]) -> None:
    if args and type(args[0]) is list:  # of what others hand it orjson writes a few levels more
        args = [nested(300)]
    with pytest.raises(Untellable):
        encode(DEFAULT, EVENT, "/", None, [name, *args])
    if name == "x":
        with pytest.raises(Untellable):
            encode(DEFAULT, ACK, "/", 1, args)
    else:
        with pytest.raises(Untellable):
            encode(MSGPACK, EVENT, "/", None, [name, *args])


@pytest.mark.fault(3)
def test_numbers_json_does_not_know_are_null_beside_binary_parts_too() -> None:
    """As JSON.stringify writes them; a bare NaN ends the connection of a stock client."""
    values = [float("nan"), float("inf"), -float("inf"), 2**70, 10**5000, "\ud83d", {1: 2}]
    (_, text), attachment = encode(DEFAULT, EVENT, "/a", 3, ["x", *values, bytearray(b"1")])
    head, _, body = text.partition(b"[")
    assert head == b"451-/a,3"
    assert body == (
        b'"x",null,null,null,1.1805916207174113e+21,null,"\\ud83d",{"1":2},'
        b'{"_placeholder":true,"num":0}]'
    )
    assert attachment[1] == b"1"
    ((_, alone),) = encode(DEFAULT, EVENT, "/", None, ["x", 2**70, "\ud83d"])
    assert alone == b'42["x",1.1805916207174113e+21,"\\ud83d"]'
    ((_, packed),) = encode(MSGPACK, EVENT, "/", None, ["x", 2**70, 10**5000, "\ud83d"])
    packet = msgpack.unpackb(packed, unicode_errors="surrogatepass")
    assert packet["data"] == ["x", float(2**70), None, "\ud83d"]
