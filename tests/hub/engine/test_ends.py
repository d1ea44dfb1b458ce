"""How an end is told: by TCP and a refused poll where the client shall come back, by a word where
it shall not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import orjson
import pytest
import socketio

from hub.engine import Event, Member, Options, Server, Unavailable, reasons

from .conftest import Serve
from .wire import NO_CLOSE, Site, Wire, event, masked

RETURNS = [
    reasons.TRANSPORT_CLOSE,
    reasons.TRANSPORT_ERROR,
    reasons.PING_TIMEOUT,
    reasons.CONNECT_TIMEOUT,
    reasons.SLOW_CONSUMER,
    reasons.SHUTTING_DOWN,
]
HEAD = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def _polling(site: Site) -> str:
    sid = await site.open_polling()
    assert await site.post(sid, "40") == (200, "ok")
    assert (await site.poll(sid))[1].startswith("40{")
    return sid


async def _waiting(site: Site, sio: Server, sid: str) -> asyncio.Task[tuple[int, str]]:
    poll = asyncio.create_task(site.poll(sid))
    poller: Any = sio.eio.sockets[sid]
    while poller._waiter is None:
        await asyncio.sleep(0.001)
    return poll


@pytest.mark.fault(19)
@pytest.mark.parametrize("reason", RETURNS)
async def test_tcp_alone_tells_a_websocket_to_come_back(
    sio: Server, site: Site, reason: str
) -> None:
    """No Close frame: OkHttp (Java) stops reading at one and notices the end 80 s later."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(HEAD + masked(b"40"))
    await reader.readuntil(b'40{"sid":')
    await reader.readuntil(b"}")
    next(sio.members()).link.end(reason)
    async with asyncio.timeout(2):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.fault(19)
@pytest.mark.parametrize("reason", [reasons.TRANSPORT_CLOSE, reasons.SHUTTING_DOWN])
async def test_what_was_said_before_the_end_arrives(sio: Server, site: Site, reason: str) -> None:
    """Also where the peer is just sending: closing a socket with unread bytes would reset it."""
    async with site.wire() as wire:
        await wire.connect()
        member = next(sio.members())
        await wire.put(*(f'42["x",{number}]' for number in range(200)))
        sio.deliver(Event(["last", "x" * 200_000]), [member.sid])
        member.link.end(reason)
        assert event(await wire.text())[0] == "last"
        assert await wire.closed() == NO_CLOSE


@pytest.mark.fault(19)
async def test_a_peer_that_keeps_its_half_open_is_let_go(serve: Serve) -> None:
    server = Server(Options(close_timeout=0.1))
    site = await serve(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(HEAD + masked(b"40"))
    await reader.readuntil(b'40{"sid":')
    assert server._listener is not None
    sio = server
    sio.cut(next(sio.members()))
    async with asyncio.timeout(2):
        while server._listener.transports.open:
            await asyncio.sleep(0.01)
    writer.close()


@pytest.mark.fault(19)
async def test_a_final_end_says_so(sio: Server, site: Site) -> None:
    async with site.wire() as wire:
        await wire.connect()
        sio.kick(next(sio.members()))
        assert await wire.text() == "41"
        assert await wire.closed() == 1000
    sid = await _polling(site)
    poll = await _waiting(site, sio, sid)
    sio.kick(next(sio.members()))
    assert await poll == (200, "41")
    assert await site.poll(sid) == (200, "1")


@pytest.mark.fault(19)
@pytest.mark.parametrize("reason", RETURNS)
async def test_a_poll_is_refused_where_the_client_shall_come_back(
    sio: Server, site: Site, reason: str
) -> None:
    """Engine.IO's CLOSE would keep python-socketio's client away for good."""
    sid = await _polling(site)
    poll = await _waiting(site, sio, sid)
    next(sio.members()).link.end(reason)
    assert (await poll)[0] == 400
    assert (await site.poll(sid))[0] == 400
    sid = await _polling(site)
    next(sio.members()).link.end(reason)  # between two polls
    assert (await site.poll(sid))[0] == 400


@pytest.mark.fault(19)
@pytest.mark.parametrize("reason", [reasons.TRANSPORT_CLOSE, reasons.SHUTTING_DOWN])
async def test_between_two_polls_the_last_words_wait(sio: Server, site: Site, reason: str) -> None:
    sid = await _polling(site)
    member = next(sio.members())
    sio.deliver(Event(["last", 1]), [member.sid])
    member.link.end(reason)
    assert await site.poll(sid) == (200, '42["last",1]')
    assert (await site.poll(sid))[0] == 400
    assert sid not in sio.eio.sockets


@pytest.mark.fault(19)
async def test_last_words_nobody_fetches_are_forgotten(serve: Serve) -> None:
    server = Server(Options(close_timeout=0.1))
    site = await serve(server)
    sid = await _polling(site)
    member = next(server.members())
    server.deliver(Event(["last", 1]), [member.sid])
    server.cut(member)
    async with asyncio.timeout(2):
        while sid in server.eio.sockets:
            await asyncio.sleep(0.01)


@pytest.mark.fault(19)
async def test_unavailable_is_no_word(sio: Server, site: Site) -> None:
    def admit(member: Member, auth: Any) -> dict[str, Any]:
        raise Unavailable("away")

    sio.hooks.admit = admit
    async with site.wire() as wire:
        await wire.put("40")
        assert await wire.closed() == NO_CLOSE
    sid = await site.open_polling()
    poll = await _waiting(site, sio, sid)
    assert await site.post(sid, "40") == (200, "ok")
    assert (await poll)[0] == 400


@pytest.mark.fault(19)
async def test_every_polling_client_hears_of_the_drain(
    sio: Server, site: Site, record_property: Callable[[str, object], None]
) -> None:
    """Thirty, each with a pause of its own between two polls."""

    async def client(number: int) -> list[str]:
        sid = await _polling(site)
        ready.release()
        heard: list[str] = []
        while True:
            try:
                status, body = await site.poll(sid)
            except aiohttp.ClientConnectionError:  # the process is gone
                return heard
            if status != 200:
                return heard
            heard += body.split("\x1e")
            await asyncio.sleep(0.02 * (number % 10))

    ready = asyncio.Semaphore(0)
    clients = [asyncio.create_task(client(number)) for number in range(30)]
    for _ in clients:
        await ready.acquire()

    def tell(member: Member, after_ms: int) -> None:
        sio.deliver(Event(["server:shutdown", {"reconnectAfterMs": after_ms}]), [member.sid])

    assert await sio.drain(1000, 0.1, tell) == 30
    await sio.close()
    heard = await asyncio.gather(*clients)
    told = sum(any("server:shutdown" in packet for packet in one) for one in heard)
    record_property("seen", f"{told} of 30 polling clients heard server:shutdown")
    assert told == 30
    assert not any("1" in one for one in heard), "nobody heard CLOSE"


class _Client:
    """python-socketio's client, which comes back by itself."""

    def __init__(self, site: Site, transport: str) -> None:
        self.sio = socketio.AsyncClient(
            reconnection_delay=0.05, reconnection_delay_max=0.1, http_session=site.http
        )
        self.joined = asyncio.Semaphore(0)
        self.words: list[str] = []
        self._transport = transport
        self.sio.on("connect", self.joined.release)
        self.sio.on("last", self.words.append)

    async def connect(self, url: str) -> None:
        await self.sio.connect(url, transports=[self._transport])
        await self.joined.acquire()


@pytest.mark.fault(19)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("reason", RETURNS)
async def test_the_python_client_comes_back(
    sio: Server, site: Site, transport: str, reason: str
) -> None:
    client = _Client(site, transport)
    await client.connect(site.url)
    for _ in range(2):
        (member,) = sio.members()
        member.link.end(reason)
        async with asyncio.timeout(2):
            await client.joined.acquire()
    await client.sio.disconnect()


@pytest.mark.fault(19)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_the_python_client_stays_away_after_a_kick(
    sio: Server, site: Site, transport: str
) -> None:
    client = _Client(site, transport)
    gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    client.sio.on("disconnect", gone.set_result)
    await client.connect(site.url)
    sio.kick(next(sio.members()))
    assert await asyncio.wait_for(gone, 2) == "server disconnect"
    assert client.sio._reconnect_task is None


# --- CONNECT_TIMEOUT ---------------------------------------------------------------------------


async def _chatter(wire: Wire, packet: str) -> None:
    while True:
        await wire.put(packet)
        await asyncio.sleep(0.02)


@pytest.mark.fault(27)
@pytest.mark.parametrize("packet", ["40{}", "40/nowhere,", "3", '42["x"]', "41", "40/custom,"])
@pytest.mark.parametrize("slow", [False, True], ids=["refused", "refused later"])
async def test_without_an_accepted_connect_a_session_ends_whatever_it_sends(
    serve: Serve, packet: str, slow: bool
) -> None:
    async def refuse(member: Member, auth: Any) -> dict[str, Any]:
        await asyncio.sleep(0.01 if slow else 0)
        raise socketio.exceptions.ConnectionRefusedError("no")

    server = Server(Options(connect_timeout=0.2), namespaces=["/", "/custom"])
    server.hooks.admit = refuse
    site = await serve(server)
    async with site.wire() as wire:
        chatter = asyncio.create_task(_chatter(wire, packet))
        async with asyncio.timeout(2):
            assert await wire.closed() == NO_CLOSE
        chatter.cancel()
        await asyncio.gather(chatter, return_exceptions=True)
    assert server.book.counters.closed == {"connect timeout": 1}


@pytest.mark.fault(27)
async def test_an_admission_that_never_ends_is_ended(serve: Serve) -> None:
    server = Server(Options(connect_timeout=0.2))
    server.hooks.admit = partial(_never, server)
    site = await serve(server)
    async with site.wire() as wire:
        await wire.put("40")
        async with asyncio.timeout(2):
            assert await wire.closed() == NO_CLOSE


async def _never(server: Server, member: Member, auth: Any) -> dict[str, Any]:
    while member.link in server.eio.sockets.values():
        await asyncio.sleep(0.02)
    return {}


@pytest.mark.fault(27)
async def test_an_upgrade_does_not_lengthen_the_time(serve: Serve) -> None:
    server = Server(Options(connect_timeout=0.4))
    site = await serve(server)
    begin = asyncio.get_running_loop().time()
    sid = await site.open_polling()
    await asyncio.sleep(0.3)
    async with site.wire(f"EIO=4&transport=websocket&sid={sid}") as wire:
        await wire.put("2probe", "5")
        assert await wire.text() == "3probe"
        assert await wire.closed() == NO_CLOSE
    assert asyncio.get_running_loop().time() - begin < 0.6


@pytest.mark.fault(27)
async def test_an_accepted_connect_has_no_deadline_in_any_namespace(serve: Serve) -> None:
    server = Server(Options(connect_timeout=0.1), namespaces=["/", "/custom"])
    site = await serve(server)
    async with site.wire() as wire:
        await wire.connect("/custom")
        await wire.put("40/nowhere,")
        assert (await wire.text()).startswith("44/nowhere,")
        assert await wire.silent(0.25)
        await wire.put("41/custom,")
        assert await wire.closed() == NO_CLOSE


@pytest.mark.fault(27)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_of_the_request_nothing_is_kept_that_is_not_used(
    serve: Serve, transport: str, record_property: Callable[[str, object], None]
) -> None:
    """As the hub opens its engine; 15 KB of headers were kept with each session."""
    import tracemalloc

    server = Server(Options(keep_request=False))
    site = await serve(server)
    headers = {f"X-Pad-{number}": "p" * 5_000 for number in range(3)}

    async def opened(count: int) -> None:
        for _ in range(count):
            if transport == "polling":
                url = f"{site.url}/socket.io/?EIO=4&transport=polling"
                async with site.http.get(url, headers=headers) as answer:
                    sid = orjson.loads((await answer.text())[1:])["sid"]
                assert await site.post(sid, "40") == (200, "ok")
                continue
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
            writer.write(HEAD[:-2] + lines + b"\r\n" + masked(b"40"))
            await reader.readuntil(b'40{"sid"')
            writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    await opened(3)
    tracemalloc.start()
    await opened(30)
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.stop()
    ours = snapshot.filter_traces([tracemalloc.Filter(True, "*/hub/engine/*")])
    kept = sum(stat.size for stat in ours.statistics("filename"))
    record_property("seen", f"{transport}: {kept // 30} bytes kept a session")
    assert kept / 30 < 4_000
    sids = [member.sid for member in server.members()]
    assert server.get_environ(sids[0]) == {"REMOTE_ADDR": "127.0.0.1"}
    for writer in writers:
        writer.close()


async def test_whoever_the_manager_takes_out_has_left(sio: Server, site: Site) -> None:
    """As the library's own code asks it; the transport stays for the time of another CONNECT."""
    left: asyncio.Queue[str] = asyncio.Queue()
    sio.on("disconnect", lambda sid, reason: left.put_nowait(reason))
    async with site.wire() as wire:
        await wire.connect()
        (member,) = sio.members()
        await sio.manager.disconnect(member.sid, "/")
        assert await asyncio.wait_for(left.get(), 5) == "server disconnect"
        assert sio.member(member.sid) is None
        await wire.connect()
        assert len(list(sio.members())) == 1
