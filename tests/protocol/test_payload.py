"""What a stranger may send, and what is refused with a code."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import payload
from protocol.errors import Code, HubError
from protocol.events import SERVER_EVENTS, Count, LocationUpdate, Ok, emit


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
