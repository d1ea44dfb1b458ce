"""Each cause for which the stock library fails the official suites, and each defect beside
them: the suites themselves are not run by CI. The numbers are those of deploy/docs/engine.md.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from hub.engine import Options, Server
from hub.engine.session.book import Book
from hub.engine.session.engine import Engine
from tests.conformance.app import Echo

from .conftest import Serve
from .wire import NO_CLOSE, Site, event

QUICK = Options(
    cors_origins="*",
    ping_interval=0.3,
    ping_timeout=0.2,
    connect_timeout=0.4,
    max_payload=1_000_000,
)


@pytest.fixture
async def quick(serve: Serve) -> Site:
    """As the suites want it: a Socket.IO server and an Engine.IO echo, pings each 300 ms."""
    engine = Engine(book=Book(QUICK), hear=Echo)
    return await serve(Server(QUICK), engines={"/engine.io/": engine})


EIO = "/engine.io/"


async def test_01_times_under_a_second_are_announced(quick: Site) -> None:
    status, body = await quick.get("EIO=4&transport=polling", EIO)
    assert (status, body[0]) == (200, "0")
    opened = orjson.loads(body[1:])
    assert (opened["pingInterval"], opened["pingTimeout"]) == (300, 200)
    assert opened["upgrades"] == ["websocket"]
    assert opened["maxPayload"] == 1_000_000


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc", "transport=polling", "EIO=3"])
async def test_02_unknown_transport_or_version(quick: Site, query: str) -> None:
    assert (await quick.get(query, EIO))[0] == 400
    head = f"GET /engine.io/?{query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    key = "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert (await quick.raw((head + key).encode())).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_03_methods(quick: Site, method: str) -> None:
    url = f"{quick.url}{EIO}?EIO=4&transport=polling"
    async with quick.http.request(method, url) as response:
        assert response.status == 400


async def test_04_payloads_are_echoed_and_answered_ok(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    assert await quick.post(sid, "4one\x1e4two\x1ebAQIDBA==", EIO) == (200, "ok")
    assert await quick.poll(sid, EIO) == (200, "4one\x1e4two\x1ebAQIDBA==")


@pytest.mark.parametrize("body", ["abc", "", "4a\x1e", "9", "2"])
async def test_05_a_bad_body_ends_the_session(quick: Site, body: str) -> None:
    sid = await quick.open_polling(EIO)
    assert (await quick.post(sid, body, EIO))[0] == 400
    assert (await quick.poll(sid, EIO))[0] == 400


async def test_06_two_polls_end_the_session(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    answers = await asyncio.gather(quick.poll(sid, EIO), quick.poll(sid, EIO))
    assert sorted(answers)[0] == (200, "1")
    assert sorted(answers)[1][0] == 400
    assert (await quick.poll(sid, EIO))[0] == 400


async def test_07_a_cancelled_poll_ends_the_session(serve: Serve, sio: Server) -> None:
    site = await serve()
    reasons: asyncio.Queue[str] = asyncio.Queue()
    sio.on("disconnect", lambda sid, reason: reasons.put_nowait(reason))
    sid = await site.open_polling()
    await site.post(sid, "40")
    assert (await site.poll(sid))[1].startswith("40")
    poll = asyncio.create_task(site.poll(sid))
    waiting: Any = sio.eio.sockets[sid]
    while waiting._waiter is None:
        await asyncio.sleep(0.001)
    poll.cancel()
    assert await asyncio.wait_for(reasons.get(), 5) == "transport error"
    assert (await site.poll(sid))[0] == 400


async def test_08_ping_timeout_of_polling(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    assert await quick.poll(sid, EIO) == (200, "2")
    assert await quick.post(sid, "3", EIO) == (200, "ok")
    assert await quick.poll(sid, EIO) == (200, "2")
    assert (await quick.poll(sid, EIO))[0] == 400  # no pong: refused, so that it comes back
    assert (await quick.poll(sid, EIO))[0] == 400


async def test_08_a_late_poll_finds_the_session_gone(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    await asyncio.sleep(0.51)  # the time is what is tested
    assert (await quick.poll(sid, EIO))[0] == 400


async def test_09_close_releases_the_waiting_poll(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    poll = asyncio.create_task(quick.poll(sid, EIO))
    await asyncio.sleep(0.01)
    assert await quick.post(sid, "1", EIO) == (200, "ok")
    assert await poll == (200, "6")
    assert (await quick.poll(sid, EIO))[0] == 400


async def test_10_upgrade_keeps_what_was_queued_and_sends_no_noop(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    async with quick.wire(f"EIO=4&transport=websocket&sid={sid}", EIO) as wire:
        await wire.put("2probe")
        assert await wire.text() == "3probe"
        assert await quick.post(sid, "4queued", EIO) == (200, "ok")
        await wire.put("5", "4after")
        assert [await wire.text(), await wire.text()] == ["4queued", "4after"]


async def test_11_a_poll_that_overtakes_the_upgrade(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    waiting = asyncio.create_task(quick.poll(sid, EIO))
    async with quick.wire(f"EIO=4&transport=websocket&sid={sid}", EIO) as wire:
        await asyncio.sleep(0.01)
        await wire.put("2probe")
        assert await wire.text() == "3probe"
        assert await waiting == (200, "6")
        early = asyncio.create_task(quick.poll(sid, EIO))
        await asyncio.sleep(0.005)
        await wire.put("5")
        assert (await early)[0] == 400
        assert (await quick.poll(sid, EIO))[0] == 400


async def test_11_a_probe_that_fails_leaves_the_polling_session(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    async with quick.wire(f"EIO=4&transport=websocket&sid={sid}", EIO) as wire:
        await wire.put("2probe")
        assert await wire.text() == "3probe"
        assert await quick.poll(sid, EIO) == (200, "6")
    await asyncio.sleep(0.01)
    await quick.post(sid, "4still here", EIO)
    assert await quick.poll(sid, EIO) == (200, "4still here")


async def test_12_a_second_websocket_is_accepted_and_closed(quick: Site) -> None:
    async with quick.wire(path=EIO) as first:
        sid = first.opened["sid"]
        async with quick.wire(f"EIO=4&transport=websocket&sid={sid}", EIO) as second:
            assert await second.get() is None
        await first.put("4alive")
        assert await first.text() == "4alive"


async def test_13_close_packet_closes_the_websocket(quick: Site) -> None:
    async with quick.wire(path=EIO) as wire:
        await wire.put("1")
        assert await wire.get() is None


async def test_14_unknown_namespace_has_a_message(site: Site) -> None:
    async with site.wire() as wire:
        await wire.put("40/random")
        assert await wire.text() == '44/random,{"message":"Invalid namespace"}'


async def test_15_without_a_connect_the_session_is_closed(quick: Site) -> None:
    async with quick.wire() as wire:
        assert await wire.text() == "2"
        await wire.put("3")
        assert await wire.closed() == NO_CLOSE


@pytest.mark.parametrize(
    "packet",
    [
        "4abc",
        "49",
        "42{}",
        "42[]",
        '42["connect"]',
        '42["disconnect"]',
        '42abc["e"]',
        "40[]",
        "40abc",
        '41{"a":1}',
        '44{"a":1}',
        "431{}",
        "4",
        "abc",
        "2",
        "22",
        '45["e"]',
        '45x-["e"]',
        '4599-["e"]',
        '451-["e",{"_placeholder":true,"num":0}]\x00',
        "42" + "[" * 2000 + "]" * 2000,
        '42["e"' + ",[" * 40 + "]" * 41,
        '42["e",NaN]',
        '42["e",1e999999]x',
    ],
)
async def test_16_a_malformed_packet_closes_the_connection(
    sio: Server, site: Site, packet: str
) -> None:
    async with site.wire() as other, site.wire() as wire:
        await other.connect()
        await wire.connect()
        before = sum(sio.book.counters.rejected.values())
        await wire.put(packet)
        assert await wire.closed() == 1008
        assert sum(sio.book.counters.rejected.values()) == before + 1
        await sio.emit("still", to=other_sid(sio, other))
        assert event(await other.text()) == ["still"]


def other_sid(sio: Server, wire: Any) -> str:
    return str(sio.manager.sid_from_eio_sid(wire.opened["sid"], "/"))


# the defects that the suites do not show


async def test_d01_long_bodies_arrive_whole(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    body = "4" + "x" * 900_000
    assert await quick.post(sid, body, EIO) == (200, "ok")
    status, answer = await quick.poll(sid, EIO)
    assert (status, answer == body) == (200, True)
    assert (await quick.post(sid, "4" + "x" * 1_000_001, EIO))[0] == 400


async def test_d02_many_packets_in_one_body(quick: Site) -> None:
    sid = await quick.open_polling(EIO)
    body = "\x1e".join(f"4{number}" for number in range(500))
    assert await quick.post(sid, body, EIO) == (200, "ok")
    assert await quick.poll(sid, EIO) == (200, body)


async def test_d03_nothing_is_sent_before_the_connect_handler_has_answered(
    sio: Server, site: Site
) -> None:
    checked = asyncio.Event()
    asked: list[str] = []

    async def connect(sid: str, environ: Any, auth: Any) -> Any:
        await sio.enter_room(sid, "r")
        await sio.emit("to sid", to=sid)
        asked.append(sid)
        await checked.wait()
        return auth == "good" or None if auth != {"bad": 1} else False

    sio.on("connect", connect)
    async with site.wire() as good, site.wire() as bad:
        await good.put("40")
        await bad.put('40{"bad":1}')
        while len(asked) < 2:
            await asyncio.sleep(0.001)
        await sio.emit("everyone")
        await sio.emit("in room", room="r")
        checked.set()
        assert (await good.text()).startswith('40{"sid"')
        heard = [event(await good.text()) for _ in range(3)]
        assert heard == [["to sid"], ["everyone"], ["in room"]]
        assert (await bad.text()).startswith("44{")
        assert await bad.silent()


async def test_d04_a_kick_closes_the_transport_once(sio: Server, site: Site) -> None:
    left: list[str] = []
    sio.on("disconnect", lambda sid, reason: left.append(reason))
    async with site.wire() as wire:
        sid = (await wire.connect())["sid"]
        await sio.disconnect(sid)
        await sio.disconnect(sid)
        assert await wire.text() == "41"
        assert await wire.closed() == 1000
    assert left == ["server disconnect"]


async def test_d04_a_kick_from_one_namespace_leaves_the_others(sio: Server, site: Site) -> None:
    async with site.wire() as wire:
        sid = (await wire.connect())["sid"]
        other = (await wire.connect("/custom"))["sid"]
        await sio.disconnect(sid)
        assert await wire.text() == "41"
        await sio.emit("x", to=other, namespace="/custom")
        assert await wire.text() == '42/custom,["x"]'


async def test_d04_a_kick_is_heard_by_a_polling_client(sio: Server, site: Site) -> None:
    session = await site.open_polling()
    await site.post(session, "40")
    sid = orjson.loads((await site.poll(session))[1][2:])["sid"]
    await sio.disconnect(sid)
    assert await site.poll(session) == (200, "41")  # a stock client hears CLOSE before it
    assert await site.poll(session) == (200, "1")
    assert (await site.poll(session))[0] == 400
    assert session not in sio.eio.sockets


async def test_d05_a_bad_frame_ends_the_session_at_once(sio: Server, site: Site) -> None:
    reasons: asyncio.Queue[str] = asyncio.Queue()
    sio.on("disconnect", lambda sid, reason: reasons.put_nowait(reason))
    async with site.wire() as wire:
        await wire.connect()
        await wire.put("x")
        assert await asyncio.wait_for(reasons.get(), 5) == "bad packet"
    assert not sio.eio.sockets


async def test_d09_close_of_a_polling_client_is_no_farewell(sio: Server, site: Site) -> None:
    """Engine.IO's CLOSE leaves the way to recovery open, Socket.IO's DISCONNECT does not."""
    reasons: asyncio.Queue[str] = asyncio.Queue()
    sio.on("disconnect", lambda sid, reason: reasons.put_nowait(reason))
    for body, reason in (("40\x1e1", "transport close"), ("40\x1e41", "client disconnect")):
        session = await site.open_polling()
        assert await site.post(session, body) == (200, "ok")
        assert await asyncio.wait_for(reasons.get(), 5) == reason


async def test_d11_refusals(sio: Server, site: Site) -> None:
    from socketio.exceptions import ConnectionRefusedError as Refused

    def connect(sid: str, environ: Any, auth: Any) -> Any:
        if auth == {"a": 1}:
            raise Refused("expired", {"code": "TOKEN_EXPIRED"})
        return False

    sio.on("connect", connect)
    async with site.wire() as wire:
        await wire.put('40{"a":1}', "40")
        assert await wire.text() == '44{"message":"expired","data":{"code":"TOKEN_EXPIRED"}}'
        assert "rejected by server" in await wire.text()
    assert not sio.manager.namespaces["/"].members


async def test_a_client_may_not_name_the_library_s_own_events(sio: Server, site: Site) -> None:
    """The stock server calls the connect handler for an event of that name."""
    called: list[Any] = []
    sio.on("connect", lambda *args: called.append(args))
    async with site.wire() as wire:
        await wire.connect()
        await wire.put('42["connect",{},{"token":"forged"}]')
        assert await wire.closed() == 1008
    assert len(called) == 1
