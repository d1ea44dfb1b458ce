"""What a stranger may send, and what is refused with a code."""

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.routes import ROUTES
from protocol import payload
from protocol.domain_events import DOMAIN_EVENTS, Envelope, UserUpdated
from protocol.errors import Code, HubError
from protocol.events import CLIENT_EVENTS, SERVER_EVENTS, emit
from protocol.events.inbox import NotificationRead
from protocol.events.places import LocationUpdate
from protocol.events.row import Count, Ok
from protocol.rest.devices import DeviceRequest
from protocol.rest.domain_events import Events
from protocol.rest.notifications import Notify, ReadAll


@pytest.mark.parametrize(
    "value",
    [
        {"lat": float("nan"), "lng": 126.0},
        {"lat": 91, "lng": 126.0},
        {"lat": 33.4, "lng": "126"},
        {"lat": 33.4},
        {"lat": 33.4, "lng": 126.0, "surprise": 1},
        "text",
        None,
        [],
    ],
)
def test_a_position_of_the_wrong_form_is_refused(value: Any) -> None:
    with pytest.raises(HubError) as refused:
        payload.read(value, LocationUpdate)
    assert refused.value.code is Code.INVALID_PAYLOAD
    assert "33.4" not in refused.value.message, "an error never repeats a coordinate"


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "\x7f", "\ud800", "x\x0b"])
def test_control_characters_and_surrogates_are_refused(text: str) -> None:
    with pytest.raises(HubError):
        payload.check({"deep": [{"text": text}]})


@pytest.mark.parametrize("text", ["약국\n\t", "👩‍🦰", "é", "", "\u200d"])
def test_what_people_write_passes(text: str) -> None:
    payload.check([text])


def test_depth_and_size_are_bounded() -> None:
    deep: Any = 1
    for _ in range(payload.MAX_DEPTH + 1):
        deep = [deep]
    for bomb in (deep, [0] * (payload.MAX_ITEMS + 1)):
        with pytest.raises(HubError):
            payload.check(bomb)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused_with_a_code(body: bytes) -> None:
    try:
        payload.read_json(body, LocationUpdate)
    except HubError as error:
        assert error.code is Code.INVALID_PAYLOAD


def test_a_body_deeper_than_the_parser_is_refused() -> None:
    with pytest.raises(HubError):
        payload.read_json(b"[" * 100_000, LocationUpdate)


def test_an_event_carries_its_own_form() -> None:
    with pytest.raises(TypeError):
        emit("inbox:unread", Count(count=1), id="1", rooms=("user:a",))
    assert payload.plain(Ok()) == {}
    assert all(name == event.name for name, event in SERVER_EVENTS.items())


@pytest.mark.fault(10)
@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400])
def test_an_integer_over_64_bits_is_refused_wherever_it_stands(number: int) -> None:
    for value in (number, {"n": number}, {"a": [1, {"b": number}]}):
        with pytest.raises(HubError, match="64 bits"):
            payload.check({"data": value})


@pytest.mark.fault(10)
@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53 + 1, 0, True])
def test_what_64_bits_hold_passes(number: int) -> None:
    payload.check({"data": {"n": number}})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(number)) == number
    assert orjson.loads(orjson.dumps(number)) == number


@pytest.mark.fault(10)
@pytest.mark.parametrize("digits", [20, 5000])
def test_a_number_of_any_length_is_refused_with_a_code(digits: int) -> None:
    body = b'{"kind":"k","title":"t","body":"b","data":{"n":' + b"9" * digits + b"}}"
    with pytest.raises(HubError) as refused:
        payload.read_json(body, Notify)
    assert refused.value.code is Code.INVALID_PAYLOAD


NO_UTC = ("0001-01-01T00:00:00+09:00", "0001-01-01T08:59:59.9+09:00", "9999-12-31T23:59:59-05:00")


@pytest.mark.fault(10)
@pytest.mark.parametrize("text", NO_UTC)
def test_a_time_that_has_no_utc_is_refused_in_every_form(text: str) -> None:
    event = {"eventId": "0" * 32, "eventType": "user.updated", "payload": {}, "occurredAt": text}
    cases: list[tuple[Any, Any]] = [
        ({"kind": "k", "title": "t", "body": "b", "expiresAt": text}, Notify),
        ({"before": text}, ReadAll),
        ({"before": text}, NotificationRead),
        ({"userId": "u", "locationConsentAt": text}, UserUpdated),
        (event, Envelope),
        ([event], Events),
    ]
    for value, form in cases:
        with pytest.raises(HubError, match="UTC") as refused:
            payload.read(value, form)
        assert refused.value.code is Code.INVALID_PAYLOAD


@pytest.mark.fault(10)
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999+00:00"])
def test_the_first_and_the_last_moment_of_utc_are_times(text: str) -> None:
    payload.read({"before": text}, ReadAll)


@pytest.mark.fault(10)
def test_every_time_a_client_sends_is_looked_at() -> None:
    """A form with a time in a place that `moments_of` does not see would let it through."""
    forms: list[Any] = [event.payload for event in DOMAIN_EVENTS.values()]
    forms += [event.payload for event in CLIENT_EVENTS.values()]
    forms += [route.body for route in ROUTES if isinstance(route.body, type)]
    for form in forms:
        hidden = {f.name for f in msgspec.structs.fields(form) if "datetime" in repr(f.type)}
        assert set(payload.moments_of(form)) == hidden, form


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("token", "fits"),
    [("t" * 2048, True), ("t" * 2049, False), ("약" * 10, False), ("a\n", False), ("a b", True)],
)
def test_a_device_token_is_ascii_and_fits_its_index(token: str, fits: bool) -> None:
    body = {"platform": "android", "token": token}
    if fits:
        assert payload.read(body, DeviceRequest).token == token
    else:
        with pytest.raises(HubError):
            payload.read(body, DeviceRequest)
