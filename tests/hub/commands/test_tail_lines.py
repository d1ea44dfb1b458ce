"""What `dongne tail` prints: readable, and nothing that a log would not hold."""

import json
from typing import Any

import pytest

from hub.cluster.tail import Passed
from hub.commands.tail_lines import DATA_WIDTH, Lines
from hub.plumbing.telemetry.redaction import Redactor

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl"


def passed(said: Any = None, **more: Any) -> Passed:
    fields: dict[str, Any] = {
        "channel": "socket.io#/#question:7#",
        "size": 42,
        "at": 1795263934.734,
        "namespace": "/",
        "rooms": ("question:7",),
        "event": "news",
        "klass": "room",
        "offset": "1795263934730-000000000001",
    }
    return Passed(said=said, **(fields | more))


def text(message: Passed, room: str = "", known: tuple[str, ...] = ()) -> str | None:
    return Lines(Redactor(known), room, as_json=False).of(message)


def as_json(message: Passed) -> dict[str, Any]:
    line = Lines(Redactor(), "", as_json=True).of(message)
    assert line is not None
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line() -> None:
    assert text(passed({"id": "e1"}, except_rooms=("user:u",))) == (
        '12:25:34.734 / question:7,-user:u news room/1795263934730-000000000001 42B {"id": "e1"}'
    )
    assert text(passed([1, b"ab"], rooms=(), offset="", klass="volatile")) == (
        '12:25:34.734 / * news volatile 42B [1, "<2 bytes>"]'
    )
    assert text(passed(klass="malformed", event="no msgpack: ExtraData")) == (
        "12:25:34.734 socket.io#/#question:7# malformed: no msgpack: ExtraData 42B"
    )


def test_a_line_of_json() -> None:
    line = as_json(passed({"id": "e1", "n": "연동"}))
    assert line == {
        "time": "2026-11-21T12:25:34.734+00:00",
        "channel": "socket.io#/#question:7#",
        "class": "room",
        "size": 42,
        "namespace": "/",
        "rooms": ["question:7"],
        "except": [],
        "event": "news",
        "offset": "1795263934730-000000000001",
        "data": {"id": "e1", "n": "연동"},
    }
    assert as_json(passed(klass="malformed", event="nested too deep"))["error"] == "nested too deep"


@pytest.mark.parametrize(
    "said",
    [
        {"lat": 33.48912, "lng": 126.49321},
        {"location": {"lat": 33.48912, "lng": 126.49321}},
        {"spot": [33.48912, 126.49321]},
        {"note": "at 33.48912, 126.49321"},
        [{"deep": {"latitude": 33.48912}}],
        {"accessToken": TOKEN},
        {"note": f"Bearer {TOKEN}"},
        TOKEN,
        {"_token": TOKEN},
        {"title": "where is my secret-title?"},
        {"mail": "somebody@example.org"},
        {"url": "redis://hub:hunter2@redis:6379"},
    ],
)
def test_tokens_texts_and_positions_are_cut(said: Any) -> None:
    for line in (text(passed(said)), json.dumps(as_json(passed(said)))):
        assert line is not None
        assert "[redacted]" in line
        for private in ("33.489", "126.493", "eyJ", "secret-title", "somebody@", "hunter2"):
            assert private not in line


def test_a_secret_in_force_is_cut_wherever_it_stands() -> None:
    line = text(passed({"note": "j" * 32}), known=("j" * 32,))
    assert line is not None
    assert "j" * 32 not in line


def test_data_is_cut_to_its_width_after_the_private_parts() -> None:
    line = text(passed({"note": "x" * 150 + f"Bearer {TOKEN}"}))
    assert line is not None
    assert "eyJ" not in line
    assert line.endswith("…")
    assert len(line.partition("42B ")[2]) == DATA_WIDTH


def test_a_terminal_gets_no_orders() -> None:
    line = text(passed("\x1b[2J\x9b2J\ud800", event="a\nb", rooms=("r\x07",)))
    assert line is not None
    assert line.isprintable()


@pytest.mark.parametrize("said", [float("nan"), {"x": float("inf")}, "\ud800", {1: 2}])
def test_json_holds_what_json_can_say(said: Any) -> None:
    line = Lines(Redactor(), "", as_json=True).of(passed(said))
    assert line is not None
    json.loads(line.encode(), parse_constant=lambda name: pytest.fail(name))


def test_deep_data_ends_somewhere() -> None:
    deep: Any = "bottom"
    for _ in range(500):
        deep = [deep]
    line = text(passed(deep))
    assert line is not None
    assert "bottom" not in line


@pytest.mark.parametrize(
    ("room", "wanted"), [("question:*", True), ("question:7", True), ("user:*", False), ("", True)]
)
def test_only_the_rooms_asked_for(room: str, wanted: bool) -> None:
    assert (text(passed(), room) is not None) is wanted
    assert text(passed(klass="malformed"), room) is not None
    assert (text(passed(rooms=("tag:sea", "question:7")), room) is not None) is wanted
