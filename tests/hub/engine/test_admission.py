"""Connecting: the admit hook, recovery's replay, refusals, limits, time-outs, draining."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as Refused

from hub.engine import Event, Handshake, Member, Options, Refusal, Server, Unavailable
from hub.engine.session.limits import Limits
from tests.tls import self_signed, serving

from .conftest import Serve
from .wire import NO_CLOSE, Site, event


def stamped(number: int, **kwargs: Any) -> Event:
    return Event(["n", {"n": number}], offset=f"{number:04}", **kwargs)


async def test_recovery_has_no_gap_and_no_repeat_between_replay_and_live(
    sio: Server, site: Site
) -> None:
    reading = asyncio.Event()
    read = asyncio.Event()
    claims: list[Any] = []

    async def admit(member: Member, auth: Any) -> dict[str, Any]:
        claims.append((member.pid, member.offset, auth))
        assert sio.rename(member, "sid-before")
        sio.enter(member, "r")
        reading.set()
        await read.wait()
        member.replay([stamped(2), stamped(3)])
        return {"pid": "secret"}

    sio.hooks.admit = admit
    async with site.wire() as wire:
        await wire.put('40{"pid":"secret","offset":"0001","token":"t"}')
        await reading.wait()
        assert sio.deliver(stamped(3), ["r"]) == 1  # in the log, and live
        sio.deliver(stamped(4), ["r"])
        assert await wire.silent()
        read.set()
        assert event(await wire.text()) == ["n", {"n": 2}, "0002"]
        assert event(await wire.text()) == ["n", {"n": 3}, "0003"]
        assert await wire.text() == '40{"sid":"sid-before","pid":"secret"}'
        assert event(await wire.text()) == ["n", {"n": 4}, "0004"]
        sio.deliver(stamped(5), ["r"])
        assert event(await wire.text()) == ["n", {"n": 5}, "0005"]
        assert await wire.silent()
    assert claims == [("secret", "0001", {"token": "t"})]


async def test_pid_and_offset_may_be_any_json(sio: Server, site: Site) -> None:
    claims: list[Any] = []

    def admit(member: Member, auth: Any) -> None:
        claims.append((member.pid, member.offset, auth))

    sio.hooks.admit = admit
    for auth in ({"pid": 1, "offset": ["x"]}, {"pid": "x" * 1000, "offset": None}, {"pid": ""}):
        async with site.wire() as wire:
            await wire.connect(auth=auth)
    assert claims == [(None, None, None)] * 3


async def test_a_client_without_recovery_gets_no_offsets(sio: Server, site: Site) -> None:
    async with site.wire() as old, site.wire() as new:
        await old.connect(auth={"recovery": False})
        await new.connect()
        sio.deliver(stamped(1))
        sio.deliver(Event(["v", 1], kind="volatile"))
        assert event(await old.text()) == ["n", {"n": 1}]
        assert event(await new.text()) == ["n", {"n": 1}, "0001"]
        assert event(await old.text()) == event(await new.text()) == ["v", 1]


async def test_an_offset_that_does_not_grow_is_left_out(sio: Server, site: Site) -> None:
    async with site.wire() as wire:
        await wire.connect()
        for number in (1, 3, 2, 3, 4):
            sio.deliver(stamped(number))
        got = [event(await wire.text()) for _ in range(5)]
        assert [args[1]["n"] for args in got] == [1, 3, 2, 3, 4]
        assert [args[2:] for args in got] == [["0001"], ["0003"], [], [], ["0004"]]


async def test_a_live_sid_is_not_given_twice(sio: Server, site: Site) -> None:
    renamed: list[bool] = []

    def admit(member: Member, auth: Any) -> None:
        renamed.append(sio.rename(member, "same"))

    sio.hooks.admit = admit
    async with site.wire() as first, site.wire() as second:
        assert (await first.connect())["sid"] == "same"
        other = (await second.connect())["sid"]
        assert other != "same"
        await sio.emit("x", to="same")
        assert event(await first.text()) == ["x"]
        assert await second.silent()
    assert renamed == [True, False]


async def test_a_half_open_predecessor_is_cut_and_its_sid_taken_over(
    sio: Server, site: Site
) -> None:
    left: list[Any] = []

    async def gone(sid: str, reason: str) -> None:
        await asyncio.sleep(0.02)
        left.append((sid, reason, sorted(sio.rooms(sid))))

    def admit(member: Member, auth: Any) -> dict[str, Any]:
        before = sio.member("same")
        if before is not None:
            sio.cut(before)
        assert sio.rename(member, "same")
        sio.enter(member, "r")
        return {}

    sio.hooks.admit = admit
    sio.on("disconnect", gone)
    async with site.wire() as first, site.wire() as second:
        await first.connect()
        await second.connect()
        assert await first.closed() == NO_CLOSE
        await asyncio.sleep(0.05)
        assert len(left) == 1
        assert left[0][1] == "transport close"
        await sio.emit("x", room="r")
        await sio.emit("y", to="same")
        assert [event(await second.text()) for _ in range(2)] == [["x"], ["y"]]


async def test_rooms_open_and_empty(sio: Server, site: Site) -> None:
    seen: list[tuple[str, ...]] = []
    sio.on_rooms(
        lambda ns, room: seen.append(("open", ns, str(room))),
        lambda ns, room: seen.append(("empty", ns, str(room))),
    )
    async with site.wire() as one, site.wire() as two:
        first = (await one.connect())["sid"]
        second = (await two.connect())["sid"]
        await sio.enter_room(first, "r")
        await sio.enter_room(first, "r")
        await sio.enter_room(second, "r")
        await sio.leave_room(first, "r")
        assert seen == [("open", "/", "r")]
        await sio.leave_room(second, "r")
        await sio.enter_room(first, "r")
    await _until(lambda: not sio.eio.sockets)
    assert seen[1:] == [("empty", "/", "r"), ("open", "/", "r"), ("empty", "/", "r")]
    assert sio.manager.namespaces["/"].rooms == {}


async def _until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("when", ["hook", "later"])
async def test_admission_may_refuse_or_ask_to_come_back(sio: Server, site: Site, when: str) -> None:
    def admit(member: Member, auth: Any) -> Any:
        error = Refused("expired") if auth == {"old": 1} else Unavailable()

        async def later() -> dict[str, Any]:
            raise error

        if when == "later":
            return later()
        raise error

    sio.hooks.admit = admit
    async with site.wire() as wire:
        await wire.put('40{"old":1}')
        assert await wire.text() == '44{"message":"expired"}'
        await wire.put("40")
        assert await wire.closed() == NO_CLOSE
    assert not sio.manager.namespaces["/"].members


async def test_a_client_that_leaves_while_it_is_admitted(sio: Server, site: Site) -> None:
    asked = asyncio.Event()
    answer = asyncio.Event()
    called: list[str] = []

    async def admit(member: Member, auth: Any) -> None:
        asked.set()
        await answer.wait()

    sio.hooks.admit = admit
    sio.on("connect", lambda *args: called.append("connect"))
    sio.on("disconnect", lambda *args: called.append("disconnect"))
    async with site.wire() as wire:
        await wire.put("40", '42["early"]')
        await asked.wait()
    await _until(lambda: not sio.eio.sockets)
    answer.set()
    await asyncio.sleep(0)
    assert called == []
    assert not sio.manager.namespaces["/"].members


# below Socket.IO


async def _status(site: Site, query: str = "EIO=4&transport=websocket", more: str = "") -> bytes:
    head = (
        f"GET /socket.io/?{query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n{more}"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return (await site.raw(head.encode())).partition(b"\r\n\r\n")[0]


async def test_the_refuse_hook_answers_503(sio: Server, site: Site) -> None:
    asked: list[Handshake] = []

    def hook(handshake: Handshake) -> Refusal | None:
        asked.append(handshake)
        return Refusal("redis", 7)

    sio.refuse(hook)
    answer = await _status(site)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 7" in answer
    url = f"{site.url}/socket.io/?EIO=4&transport=polling"
    async with site.http.get(url) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
    assert [(h.address, h.transport) for h in asked] == [
        ("127.0.0.1", "websocket"),
        ("127.0.0.1", "polling"),
    ]
    assert sio.book.counters.refused == {"redis": 2}
    assert not sio.eio.sockets


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("conn_max_node", "node_full"), ("conn_max_ip", "ip_full"), ("accept_rate", "accept_rate")],
)
async def test_limits(serve: Serve, limit: str, reason: str) -> None:
    server = Server(Options(**{limit: 2}))  # type: ignore[arg-type]
    site = await serve(server)
    async with site.wire(), site.wire() as second:
        assert (await _status(site)).startswith(b"HTTP/1.1 503 ")
        assert server.book.counters.refused == {reason: 1}
        await second.put("1")
        await second.closed()
        if limit != "accept_rate":
            async with site.wire() as third:
                await third.connect()
    await _until(lambda: server.book.limits.open == 0)


async def test_accept_rate_is_a_bucket_of_one_second() -> None:
    limits = Limits(Options(accept_rate=50, conn_max_ip=1000))
    taken = [limits.take("10.0.0.1") is None for _ in range(100)]
    assert sum(taken) in (50, 51)
    await asyncio.sleep(0.1)
    assert 4 <= sum(limits.take("10.0.0.1") is None for _ in range(50)) <= 20


async def test_peer_address_of_both_transports(serve: Serve) -> None:
    server = Server(Options(trust_proxy=1))
    site = await serve(server)
    headers = {"X-Forwarded-For": "6.6.6.6, 10.1.2.3"}
    async with site.wire(headers=headers) as wire:
        sid = (await wire.connect())["sid"]
        assert server.get_environ(sid)["REMOTE_ADDR"] == "10.1.2.3"
    url = f"{site.url}/socket.io/?EIO=4&transport=polling"
    async with site.http.get(url, headers=headers) as response:
        assert response.status == 200
    assert [link.address for link in server.eio.sockets.values()][-1] == "10.1.2.3"


@pytest.mark.parametrize("sent", [b"", b"GET /soc"])
async def test_a_silent_connection_is_closed(serve: Serve, sent: bytes) -> None:
    site = await serve(Server(Options(connect_timeout=0.1)))
    assert await site.raw(sent) == b""


async def test_without_members_the_time_out_starts_again(serve: Serve) -> None:
    site = await serve(Server(Options(connect_timeout=0.1)))
    async with site.wire() as wire:
        await wire.connect()
        await asyncio.sleep(0.15)
        await wire.put("41")
        assert await wire.closed() == NO_CLOSE


async def test_origins(serve: Serve) -> None:
    site = await serve(Server(Options(cors_origins=("https://dongne.example",))))
    good = await _status(site, more="Origin: https://dongne.example\r\n")
    assert good.startswith(b"HTTP/1.1 101 ")
    bad = await _status(site, more="Origin: https://evil.example\r\n")
    assert bad.startswith(b"HTTP/1.1 403 ")
    assert (await _status(site)).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "head",
    [
        b"Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n",
        b"Sec-WebSocket-Version: 13\r\n",
    ],
)
async def test_bad_upgrades(site: Site, head: bytes) -> None:
    answer = await site.raw(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + head + b"\r\n"
    )
    assert answer.split(b" ")[1] in (b"426", b"400")


async def test_everything_else_is_the_application_s(serve: Serve, sio: Server) -> None:
    app = web.Application()

    async def health(request: web.Request) -> web.Response:
        return web.Response(text=await request.text() or "ok")

    app.router.add_route("*", "/health", health)
    site = await serve(app=app)
    async with site.http.post(f"{site.url}/health", data="x" * 100_000) as response:
        assert await response.text() == "x" * 100_000
    async with site.http.get(f"{site.url}/health") as response:
        assert await response.text() == "ok"
    assert b" 404 " in await site.raw(b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")
    assert b" 400 " in await site.raw(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    async with site.wire() as wire:  # on a connection that has served HTTP before
        await wire.connect()


async def test_tls(serve: Serve, sio: Server, tmp_path: Path) -> None:
    site = await serve(ssl=serving(*self_signed(tmp_path, "127.0.0.1")))
    site.url = site.url.replace("http:", "https:")
    async with site.wire(ssl=False) as wire:
        sid = (await wire.connect())["sid"]
        await sio.emit("x", "y" * 300_000, to=sid)
        assert event(await wire.text()) == ["x", "y" * 300_000]
    url = f"{site.url}/socket.io/?EIO=4&transport=polling"
    async with site.http.get(url, ssl=False) as response:
        assert response.status == 200


async def test_who_drains_on_a_shared_port_leaves_new_connections_to_the_others(
    sio: Server, serve: Serve, options: Options
) -> None:
    site = await serve(reuse_port=True)
    other = Server(options)
    try:
        assert await other.listen("127.0.0.1", site.port, reuse_port=True) == site.port
        async with site.wire() as stays:
            await stays.connect()
            drains, left = (sio, other) if sio.eio.sockets else (other, sio)
            drains.refuse_new(1)
            for number in range(1, 31):  # the kernel spreads them by a hash of their ports
                async with site.wire() as wire:
                    await wire.connect()
                    assert left.book.counters.opened["websocket"] == number
            assert drains.book.counters.refused == {}
    finally:
        await other.close()


@pytest.mark.parametrize(("rate", "step"), [(25, 40), (1, 50)], ids=["rate", "all-in-time"])
async def test_drain(sio: Server, site: Site, rate: float, step: int) -> None:
    """At its rate; faster, and still evenly, where the time would not be enough for all."""
    told: dict[str, int] = {}
    sids: list[str] = []
    closed: list[int] = []

    async def client(index: int) -> None:
        async with site.wire() as wire:
            sids.append((await wire.connect())["sid"])
            assert await wire.closed() == NO_CLOSE
            closed.append(index)

    clients = []
    for index in range(6):
        clients.append(asyncio.create_task(client(index)))
        await _until(lambda: len(sids) == len(clients))
    count = await sio.drain(rate, 0.3, lambda member, ms: told.__setitem__(member.sid, ms))
    await asyncio.gather(*clients)
    assert count == 6
    assert [told[sid] for sid in sids] == [0, step, 2 * step, 3 * step, 4 * step, 5 * step]
    assert closed == [0, 1, 2, 3, 4, 5]
    assert (await _status(site)).startswith(b"HTTP/1.1 503 ")
