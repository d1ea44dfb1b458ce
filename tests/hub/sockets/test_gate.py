"""Bad input at the gate: a coded answer, counted, and nobody else disturbed."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.engine import Member
from hub.plumbing.limits.fleet import Verdict
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.metrics import ERRORS, REGISTRY
from hub.sockets.gate import Gate
from protocol.errors import not_found
from protocol.events import CLIENT_EVENTS, ClientEvent
from protocol.events.questions import QuestionRef, QuestionState
from tests.hub.sockets.conftest import Connect, Dial, Running, running, with_figures


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


BAD: list[tuple[str, Any]] = [
    ("no:such:event", {}),
    ("no:such:event", "text"),
    ("neighbourhood:join", None),
    ("neighbourhood:join", {}),
    ("neighbourhood:join", []),
    ("neighbourhood:join", "jeju-ildo2"),
    ("neighbourhood:join", ({"code": "a"}, {"code": "b"})),
    ("neighbourhood:join", {"code": 7}),
    ("neighbourhood:join", {"code": ""}),
    ("neighbourhood:join", {"code": "x" * 129}),
    ("neighbourhood:join", {"code": "a\x00b"}),
    ("neighbourhood:join", {"code": "a\x1bb"}),
    ("neighbourhood:join", {"code": "x", "more": 1}),
    ("neighbourhood:join", {"code": b"\xff\xfe"}),
    ("question:join", {"questionId": nested(20)}),
    ("question:join", {"questionId": "q" * 129}),
    ("location:update", {"lat": 91, "lng": 126.5}),
    ("location:update", {"lat": 33.4, "lng": -181}),
    ("location:update", {"lat": "33.4", "lng": 126.5}),
    ("location:update", {"lat": 33.4, "lng": 126.5, "accuracyM": -1}),
    ("inbox:sync", {"after": -1}),
    ("inbox:sync", {"limit": 101}),
    ("inbox:sync", {"after": 1e300}),
    ("notification:ack", {}),
    ("notification:ack", {"ids": ["x"] * 101}),
    ("notification:ack", {"ids": [["x"] * 2500]}),
    ("notification:seen", {"ids": "x"}),
    ("notification:read", {}),
    ("notification:read", {"all": True, "ids": ["x"]}),
    ("notification:read", {"all": True, "before": "yesterday"}),
    ("notification:read", {"all": True, "before": "2026-01-01T00:00:00"}),
    ("notification:read", {"ids": ["x"], "before": "2026-01-01T00:00:00Z"}),
]


@pytest.mark.refused
async def test_bad_input_is_answered_with_a_code_and_counted(
    settings: Settings, connect: Connect
) -> None:
    async with running(with_figures(settings, rate_max=1000)) as hub:
        client = await connect(hub, "minji")
        for event, data in BAD:
            before = counted(event)
            answer = await client.call(event, data)
            assert answer["ok"] is False, (event, data)
            assert answer["error"]["code"] == "INVALID_PAYLOAD", (event, data, answer)
            assert answer["error"]["requestId"]
            assert counted(event) == before + 1
        assert (await client.call("inbox:sync", {}))["ok"] is True
        assert (await client.call("inbox:sync"))["ok"] is True


def counted(event: str) -> float:
    name = event if ("/", event) in CLIENT_EVENTS else "unknown"
    labels = {"namespace": "/", "event": name, "outcome": "INVALID_PAYLOAD"}
    return REGISTRY.get_sample_value("socket_events_total", labels) or 0


async def test_values_of_callers_stand_in_no_answer(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "minji")
    answer = await client.call("neighbourhood:join", {"code": ["<script>secret</script>"]})
    assert "secret" not in json.dumps(answer)


HOSTILE: dict[str, tuple[str | bytes, int]] = {
    "too long": ('42["inbox:sync",{"x":"' + "x" * 70_000 + '"}]', 1009),
    "not UTF-8": (b'42["inbox:sync",{"x":"\xff\xfe"}]', 1007),
    "no JSON": ('42["inbox:sync",{', 1008),
    "no list": ('42{"a":1}', 1008),
    "no packet": ("hello", 1008),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.refused
async def test_hostile_packets_close_the_connection_and_nothing_else(
    hub: Running, dial: Dial, connect: Connect, name: str
) -> None:
    bystander = await connect(hub, "jiho")
    packet, code = HOSTILE[name]
    wire = await dial(hub)
    await wire.send("40" + json.dumps({"token": hub.token("minji")}))
    await wire.starting("40{")
    await wire.starting('42["ready"')
    await wire.send(packet)
    assert await wire.next() == code
    assert (await bystander.call("inbox:sync", {}))["ok"] is True


HALF = '"\\ud83d"'
STRANGE = {
    "half an emoji": f'["question:join",{{"questionId":{HALF}}}]',
    "half an emoji as a key": f'["question:join",{{{HALF}:1}}]',
    "half an emoji as a name": f"[{HALF},{{}}]",
    "half an emoji in a room": '["presence:get",{"room":"question:\\udc00"}]',
    "a numeric name": '[7,{"a":1}]',
    "a name named star": '["*",{"a":1}]',
    "a name named star, somebody's sid": '["*","BYSTANDER"]',
    "a name without a payload": '["neighbourhood:join"]',
    "an empty name": '[""]',
    "names of Python": '["__init__",{}]',
    "beyond all doubles": '["inbox:sync",{"after":1e400}]',
    "integers over 64 bits": '["inbox:sync",{"after":' + "9" * 400 + "}]",
    "over 64 bits": '["inbox:sync",{"after":18446744073709551616}]',
    "too deep": '["inbox:sync",' + "[" * 30_000 + "]" * 30_000 + "]",
    "deep": '["inbox:sync",{"limit":' + "[" * 100 + "]" * 100 + "}]",
}


@pytest.mark.fault(2, 26)
@pytest.mark.refused
async def test_what_one_message_may_hold_is_answered_with_a_code(
    hub: Running, dial: Dial, connect: Connect
) -> None:
    """Each, in both namespaces, and the session goes on; nobody else's limit is spent."""
    bystander = await connect(hub, "jiho")
    sid = bystander.sio.get_sid()
    wire = await dial(hub)
    await wire.send("40" + json.dumps({"token": hub.token("minji")}))
    await wire.starting('42["ready"')
    await wire.send("40/streaming," + json.dumps({"token": hub.token("minji")}))
    await wire.starting("40/streaming")
    with capture_logs() as lines:
        for name, packet in STRANGE.items():
            for space in ("", "/streaming,"):
                await wire.send(f"42{space}77{packet.replace('BYSTANDER', sid)}")
                answer = await wire.starting(f"43{space}77[")
                [ack] = json.loads(answer[answer.index("[") :])
                assert ack["error"]["code"] == "INVALID_PAYLOAD", name
    assert [line for line in lines if line["log_level"] == "error"] == []
    await wire.send('4278["inbox:sync",{}]')
    assert json.loads((await wire.starting("4378["))[4:])[0]["ok"] is True
    used = await hub.domain.redis.exists(hub.domain.keys.rate("socket_default", "jiho"))
    assert not used


@pytest.mark.fault(2)
@pytest.mark.parametrize("half", ["\\ud83d", "\\udc00"])
async def test_half_an_emoji_for_a_token_is_refused_as_any_other(
    hub: Running, dial: Dial, half: str
) -> None:
    wire = await dial(hub)
    with capture_logs() as lines:
        for auth in (
            f'{{"token":"{half}"}}',
            f'{{"token":"eyJ.{half}.x"}}',
            f'{{"pid":"{half}","offset":"{half}","token":"x"}}',
            f'{{"{half}":1}}',
        ):
            await wire.send("40" + auth)
            assert json.loads((await wire.starting("44"))[2:])["data"]["code"] == "UNAUTHENTICATED"
        token = hub.token("minji")
        await wire.send(f'40{{"pid":"{half}","offset":"{half}","token":"{token}"}}')
        assert '"recovered":false' in await wire.starting('42["ready"')
    assert [line for line in lines if line["log_level"] == "error"] == []


@pytest.mark.fault(24)
async def test_refused_events_cost_the_sender_its_transport(
    hub: Running, dial: Dial, connect: Connect, record_property: Callable[[str, object], None]
) -> None:
    """Each is answered, the last one too; then the transport ends. Others notice nothing."""
    bystander = await connect(hub, "jiho")
    wire = await dial(hub)
    await wire.send("40" + json.dumps({"token": hub.token("minji")}))
    await wire.starting('42["ready"')
    for number in range(1, 151):
        await wire.send(f'42{number}["*"]')
    codes: list[str] = []
    while isinstance(packet := await wire.next(), str):
        codes.append(json.loads(packet[packet.index("[") :])[0]["error"]["code"])
    assert packet == 1008
    assert len(codes) == 101
    assert codes[:100] == ["INVALID_PAYLOAD"] * 100
    record_property("seen", f"closed after {len(codes)} refused events")
    assert (await bystander.call("inbox:sync", {}))["ok"] is True


@pytest.mark.refused
async def test_10_mb_are_not_read(hub: Running, dial: Dial, connect: Connect) -> None:
    bystander = await connect(hub, "jiho")
    wire = await dial(hub)
    rejected = hub.door.node.server.book.counters.rejected
    with contextlib.suppress(ConnectionError):  # reset while it still sends
        await wire.send('42["inbox:sync",{"x":"' + "x" * 10_000_000 + '"}]')
    assert await wire.next() in (1009, 1006)
    assert rejected["websocket_1009"] == 1
    assert (await bystander.call("inbox:sync", {}))["ok"] is True


async def test_the_limit_is_a_persons_over_all_nodes(settings: Settings, connect: Connect) -> None:
    few = with_figures(settings, rate_max=4, rate_window_ms=60_000)
    async with running(few) as one, running(few) as other:
        phone, laptop = await connect(one, "minji"), await connect(other, "minji")
        stranger = await connect(other, "jiho")
        for client in (phone, laptop, phone, laptop):
            assert (await client.call("inbox:sync", {}))["ok"] is True
        for client in (phone, laptop):
            error = (await client.call("inbox:sync", {}))["error"]
            assert error["code"] == "RATE_LIMITED"
            assert 0 < error["retryAfterMs"] <= 60_000
        unknown = (await phone.call("no:such:event", {}))["error"]
        assert unknown["code"] == "RATE_LIMITED"
        assert (await stranger.call("inbox:sync", {}))["ok"] is True


async def allowed(_event: ClientEvent, _user_id: str) -> Verdict:
    return Verdict(allowed=True, limit=1, remaining=1, retry_after_ms=0)


@pytest.fixture
def failing(hub: Running) -> None:
    """An event whose handler has a fault nobody foresaw."""

    async def fail(*_: Any) -> Any:
        raise ZeroDivisionError("secret of the house")

    node = hub.door.node
    gate = Gate(node.server, allowed, node.access)
    gate.add(CLIENT_EVENTS["/", "inbox:sync"], fail)


@pytest.mark.usefixtures("failing")
async def test_a_fault_of_ours_is_told_as_internal(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "minji")
    before = ERRORS.labels(door="socket", code="INTERNAL")._value.get()
    answer = await client.call("inbox:sync", {})
    assert answer["error"]["code"] == "INTERNAL"
    assert "secret" not in json.dumps(answer)
    assert ERRORS.labels(door="socket", code="INTERNAL")._value.get() == before + 1


async def test_plain_functions_pass_the_same_gate(hub: Running, connect: Connect) -> None:
    """A handler need not be a coroutine."""
    node = hub.door.node
    verdicts = iter([True, True, True, False])

    async def counted_here(event: ClientEvent, user_id: str) -> Verdict:
        assert (event.name, user_id) == ("question:join", "minji")
        return Verdict(next(verdicts), 3, 0, 250)

    def act(member: Member, form: QuestionRef) -> QuestionState:
        if form.question_id == "bad":
            raise not_found("question")
        return QuestionState(room=f"question:{form.question_id}", answers=7)

    Gate(node.server, counted_here, node.access).add(CLIENT_EVENTS["/", "question:join"], act)
    client = await connect(hub, "minji")
    answer = await client.call("question:join", {"questionId": "q"})
    assert answer == {"ok": True, "room": "question:q", "answers": 7}
    codes = [
        (await client.call("question:join", data))["error"]["code"]
        for data in ({"questionId": "bad"}, {"questionId": 7}, {"questionId": "q"})
    ]
    assert codes == ["NOT_FOUND", "INVALID_PAYLOAD", "RATE_LIMITED"]


async def test_one_line_an_event_and_nothing_of_its_payload(
    settings: Settings, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "access")
    process = settings.process.model_copy(update={"access_log": "all"})
    async with running(replace(settings, process=process)) as hub:
        client = await connect(hub, "minji")
        code = hub.domain.atlas.neighbourhoods[0].code
        with capture_logs() as lines:
            await client.call("neighbourhood:join", {"code": code})
            await client.call("location:update", {"lat": 33.123456, "lng": 126.654321})
            await client.call("nobody:knows", {"secret": "of minji"})
        told = [(line["name"], line["outcome"], line.get("room")) for line in lines]
        assert told == [
            ("neighbourhood:join", "ok", f"neighbourhood:{code}"),
            ("location:update", "FORBIDDEN", None),
            ("unknown", "INVALID_PAYLOAD", None),
        ]
        for value in ("33.12", "126.65", "of minji", "nobody:knows"):
            assert value not in repr(lines)
        await client.close()
