"""From polling to a WebSocket: the old transport serves until the new one is confirmed.

What both servers must do is asked of the official one, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from hub.engine import Event, Options, Server
from hub.engine.session.polling import decode_base64

from .conftest import Serve
from .peers import AVAILABLE, MISSING, node
from .wire import Site, event

HERE = Path(__file__).parent


def _answering(server: Server) -> Server:
    async def echo(sid: str, *args: Any) -> None:
        await server.emit("echo", args, to=sid)

    async def tick(sid: str, number: int) -> None:
        await server.emit("tick", number, to=sid)

    server.on("echo", echo)
    server.on("tick", tick)
    return server


@pytest.fixture(scope="module")
async def official() -> AsyncIterator[Site | None]:
    if not AVAILABLE:
        yield None
        return
    async with node(str(HERE / "echoing.js")) as out, aiohttp.ClientSession() as http:
        yield Site(int(await out.readline()), http)


@pytest.fixture(params=["hub", "official"])
async def judged(request: Any, serve: Serve, sio: Server, official: Site | None) -> Site:
    """Ours, and the official server."""
    if request.param == "hub":
        return await serve(_answering(sio))
    if official is None:
        pytest.skip(MISSING)
    return official


def _upgrade(sid: str) -> str:
    return f"EIO=4&transport=websocket&sid={sid}"


async def _connected(site: Site) -> str:
    sid = await site.open_polling()
    assert await site.post(sid, "40") == (200, "ok")
    assert (await site.poll(sid))[1].startswith("40{")
    return sid


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "frames",
    [["2probe", "5"], ["5"], ["2probe", "52"], ["2probe", "5probe"], ["2probe", "2probe", "5"]],
    ids=["as it is written", "no probe", "payload behind", "a word behind", "two probes"],
)
async def test_how_clients_end_an_upgrade(judged: Site, frames: list[str]) -> None:
    """C++ and C# ones end it without a probe, others with data behind the packet's type."""
    sid = await judged.open_polling()
    async with judged.wire(_upgrade(sid)) as wire:
        await wire.put(*frames, "40")
        for _ in range(frames.count("2probe")):
            assert await wire.text() == "3probe"
        assert (await wire.text()).startswith('40{"sid":')
        await wire.put('42["echo",1]')
        assert event(await wire.text()) == ["echo", 1]


@pytest.mark.fault(5)
async def test_polling_serves_until_the_upgrade_is_confirmed(judged: Site) -> None:
    sid = await _connected(judged)
    async with judged.wire(_upgrade(sid)) as wire:
        await wire.put("2probe")
        assert await wire.text() == "3probe"
        for number in range(5):
            assert await judged.post(sid, f'42["tick",{number}]') == (200, "ok")
            while (answer := await judged.poll(sid)) == (200, "6"):
                pass
            assert answer == (200, f'42["tick",{number}]')
        await wire.put("5", '42["tick",5]')
        assert event(await wire.text()) == ["tick", 5]


@pytest.mark.fault(5)
async def test_an_idle_poll_is_let_go_while_a_websocket_is_probed(judged: Site) -> None:
    """The client ends the upgrade when none of its polls is under way; but not at any pace."""
    sid = await _connected(judged)
    async with judged.wire(_upgrade(sid)) as wire:
        waiting = asyncio.create_task(judged.poll(sid))
        await wire.put("2probe")
        assert await wire.text() == "3probe"
        async with asyncio.timeout(2):
            assert await waiting == (200, "6")
            begin = time.monotonic()
            for _ in range(3):
                assert await judged.poll(sid) == (200, "6")
        assert time.monotonic() - begin > 0.15


@pytest.mark.fault(5)
@pytest.mark.parametrize("frame", ["4x", "2", "3probe", "x"])
async def test_a_wrong_word_ends_the_probe_alone(judged: Site, frame: str) -> None:
    sid = await _connected(judged)
    async with judged.wire(_upgrade(sid)) as wire:
        await wire.put("2probe", frame)
        assert await wire.text() == "3probe"
        assert await wire.get() is None
    assert await judged.post(sid, '42["tick",1]') == (200, "ok")
    while (answer := await judged.poll(sid)) == (200, "6"):
        pass
    assert answer == (200, '42["tick",1]')


@pytest.mark.fault(5)
async def test_one_websocket_at_a_time_asks_for_a_session(judged: Site) -> None:
    sid = await judged.open_polling()
    async with judged.wire(_upgrade(sid)) as first:
        async with judged.wire(_upgrade(sid)) as second:
            await second.put("2probe")
            assert await second.get() is None
        await first.put("2probe", "5")
        assert await first.text() == "3probe"


@pytest.mark.fault(5)
async def test_a_poll_under_way_at_the_end_of_the_upgrade_is_answered(
    site: Site, sio: Server
) -> None:
    """Clients that do not probe may still poll; what waits goes by the WebSocket."""
    sid = await _connected(site)
    async with site.wire(_upgrade(sid)) as wire:
        waiting = asyncio.create_task(site.poll(sid))
        poller: Any = sio.eio.sockets[sid]
        while poller._waiter is None:
            await asyncio.sleep(0.001)
        await wire.put("5")
        async with asyncio.timeout(2):
            assert await waiting == (200, "6")
        sio.deliver(Event(["n", 1]))
        assert event(await wire.text()) == ["n", 1]


@pytest.mark.fault(5)
async def test_a_session_that_ends_takes_its_prober_along(site: Site, sio: Server) -> None:
    sid = await _connected(site)
    async with site.wire(_upgrade(sid)) as wire:
        await wire.put("2probe")
        assert await wire.text() == "3probe"
        sio.cut(next(sio.members()))
        assert await wire.get() is None


@pytest.mark.fault(5, 25)
async def test_a_post_under_way_at_the_end_of_the_upgrade_keeps_its_place(
    site: Site, sio: Server
) -> None:
    going, seen = asyncio.Event(), []

    async def slow(sid: str, number: int) -> None:
        await going.wait()
        seen.append(number)

    sio.on("slow", slow)
    sid = await _connected(site)
    poller = sio.eio.sockets[sid]
    body = "\x1e".join(f'42["slow",{number}]' for number in range(300))
    posting = asyncio.create_task(site.post(sid, body))
    while not poller.reading_paused:
        await asyncio.sleep(0.001)
    async with site.wire(_upgrade(sid)) as wire:
        await wire.put("5", '42["slow",300]', '4277["slow",301]')
        assert await posting == (200, "ok")
        going.set()
        assert await wire.text() == "4377[]"
    assert seen == list(range(302))


async def _pipe(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float | None
) -> None:
    try:
        while data := await reader.read(65536):
            if late is None:
                await asyncio.sleep(3600)
            await asyncio.sleep(late or 0)
            writer.write(data)
    finally:
        writer.close()


async def _proxied(port: int, late: float | None) -> asyncio.Server:
    """A proxy that holds up WebSocket frames so long each way, or swallows them (None)."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        up_writer.write(head)
        websocket = b"transport=websocket" in head
        if websocket:
            writer.write(await up_reader.readuntil(b"\r\n\r\n"))
        way = late if websocket else 0
        ways = [_pipe(reader, up_writer, way), _pipe(up_reader, writer, way)]
        tasks = [asyncio.create_task(one) for one in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    return await asyncio.start_server(accept, "127.0.0.1", 0)


@pytest.mark.fault(5)
@pytest.mark.parametrize("late", [None, 0.0, 0.02, 0.15], ids=["swallows", "0", "20ms", "150ms"])
async def test_the_stock_client_loses_nothing_at_a_slow_upgrade(
    serve: Serve, late: float | None, record_property: Callable[[str, object], None]
) -> None:
    """Numbered events all the while: each comes once, in order, without a pause."""
    server = Server(Options(cors_origins="*", connect_timeout=2))
    site = await serve(server)
    proxy = await _proxied(site.port, late)
    url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"

    async def number_them() -> None:
        for number in range(600):
            args = ["tick", number, round(time.time() * 1000)]
            server.deliver(Event([*args, {}]))
            await asyncio.sleep(0.004)

    connected = asyncio.Event()
    server.on("connect", lambda sid, environ: connected.set())
    heard: list[tuple[int, str, int]] = []
    async with node(str(HERE / "upgrading.js"), url) as out:
        await connected.wait()
        numbering = asyncio.create_task(number_them())
        async with asyncio.timeout(15):
            while not heard or heard[-1][0] != 599:
                heard.append(orjson.loads(await out.readline()))
        await numbering
    proxy.close()
    assert [number for number, *_ in heard] == list(range(heard[0][0], 600))
    assert heard[0][0] == 0
    slowest = max(ms for *_, ms in heard)
    assert slowest < 900
    assert heard[-1][1] == ("polling" if late is None else "websocket")
    record_property("seen", f"upgrade late by {late}: slowest event {slowest} ms")


# --- base64 ------------------------------------------------------------------------------------

BASE64 = [
    ("AQIDBA==", b"\1\2\3\4"),
    ("AQIDBA==\n", b"\1\2\3\4"),
    ("AQIDBA==\r\n", b"\1\2\3\4"),
    ("AQID\nBA==\n", b"\1\2\3\4"),
    (" AQ ID\tBA==", b"\1\2\3\4"),
    ("AQIDBA", b"\1\2\3\4"),
    ("AQIDBA=", b"\1\2\3\4"),
    ("AQIDBA===", b"\1\2\3\4"),
    ("-_-_", b"\xfb\xff\xbf"),
    ("+/-_", b"\xfb\xff\xbf"),
    ("_w", b"\xff"),
    ("AQIDB", b"\1\2\3"),
    ("AQID!", b"\1\2\3"),
    ("AQIDBA==AQID", b"\1\2\3\4"),
    ("", b""),
]


@pytest.mark.fault(20)
@pytest.mark.parametrize(("text", "data"), BASE64)
async def test_base64_over_polling(judged: Site, text: str, data: bytes) -> None:
    """A line break behind it or in it (Java), without padding, URL-safe."""
    sid = await _connected(judged)
    head = '451-["echo",{"_placeholder":true,"num":0}]'
    assert await judged.post(sid, f"{head}\x1eb{text}") == (200, "ok")
    answer = ""
    while "b" not in answer.partition("\x1e")[2]:
        status, more = await judged.poll(sid)
        assert status == 200
        answer += ("\x1e" if answer else "") + more
    assert decode_base64(answer.partition("\x1eb")[2].encode()) == data
    assert answer.startswith(head)


@pytest.mark.fault(20)
async def test_base64_is_read_as_the_official_server_does(
    record_property: Callable[[str, object], None],
) -> None:
    """Random texts of the alphabets and of what stands in neither."""
    import random

    rng = random.Random(20)
    signs = "AQxz09+/-_==\n\r \t!.\x00한"
    texts = ["".join(rng.choices(signs, k=rng.randrange(24))) for _ in range(2000)]
    program = f"for (const t of {orjson.dumps(texts).decode()}) "
    program += 'console.log(Buffer.from(t, "base64").toString("hex"))'
    async with node("-e", program) as out:
        wanted = (await out.read()).decode().split("\n")[:-1]
    assert [decode_base64(text.encode()).hex() for text in texts] == wanted
    record_property("seen", "2000 random texts as Node reads them")
