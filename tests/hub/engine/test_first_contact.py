"""CONNECT, EVENT, ACK, rooms, emits: by hand, and with the stock Python client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import socketio

from hub.engine import Server

from .conftest import Serve
from .wire import Site, event


async def test_handshake_connect_and_event(sio: Server, site: Site) -> None:
    sio.on("echo", lambda sid, *args: args)
    async with site.wire() as wire:
        assert wire.opened["pingInterval"] == 25_000
        assert wire.opened["upgrades"] == []
        reply = await wire.connect()
        assert list(reply) == ["sid"]
        await wire.put('420["echo",1,{"a":[2]}]')
        assert await wire.text() == '430[1,{"a":[2]}]'
        await wire.put('42/custom,1["echo"]')  # not joined: nothing answers
        await wire.put('427["echo"]')
        assert await wire.text() == "437[]"


@pytest.mark.parametrize("plain", [True, False], ids=["function", "coroutine"])
async def test_handlers_get_what_the_library_gives_them(
    sio: Server, site: Site, plain: bool
) -> None:
    """One table on both paths: a plain function, and a coroutine in the member's queue."""
    seen: list[Any] = []

    def connect(sid: str, environ: Any, auth: Any) -> None:
        seen.append(("connect", environ["QUERY_STRING"], auth))

    def tell(sid: str, *args: Any) -> Any:
        seen.append(("tell", *args))
        return args[0] if args else None

    def disconnect(sid: str, reason: str) -> None:
        seen.append(("disconnect", reason, sio.rooms(sid)[1:]))

    def later(handler: Any) -> Any:
        async def slow(*args: Any) -> Any:
            await asyncio.sleep(0)
            return handler(*args)

        return handler if plain else slow

    for handler in (connect, tell, disconnect):
        sio.on(handler.__name__, later(handler))
    async with site.wire() as wire:
        sid = (await wire.connect(auth={"token": "t"}))["sid"]
        await sio.enter_room(sid, "r")
        await wire.put('42["tell",1]', '421["tell",{"b":2}]', '422["tell"]', '423["tell",[1,2]]')
        assert [await wire.text() for _ in range(3)] == ['431[{"b":2}]', "432[]", "433[[1,2]]"]
        await wire.put("41")
        await wire.put("40")  # and again, on the same connection
        assert (await wire.text()).startswith('40{"sid":')
    assert seen[0] == ("connect", "EIO=4&transport=websocket", {"token": "t"})
    assert seen[1:5] == [("tell", 1), ("tell", {"b": 2}), ("tell",), ("tell", [1, 2])]
    assert seen[5] == ("disconnect", "client disconnect", ["r"])


async def test_events_of_one_member_are_handled_in_order(sio: Server, site: Site) -> None:
    order: list[str] = []
    gate = asyncio.Event()

    async def first(sid: str) -> None:
        await gate.wait()
        order.append("first")

    def second(sid: str) -> str:
        order.append("second")
        return "done"

    sio.on("first", first)
    sio.on("second", second)
    sio.on("echo", lambda sid: "free", namespace="/custom")
    async with site.wire() as wire:
        await wire.connect()
        await wire.connect("/custom")
        await wire.put('42["first"]', '421["second"]', '42/custom,2["echo"]')
        assert await wire.text() == '43/custom,2["free"]'  # not held up
        assert order == []
        gate.set()
        assert await wire.text() == '431["done"]'
    assert order == ["first", "second"]


class Chat(socketio.AsyncNamespace):  # type: ignore[misc]
    async def on_connect(self, sid: str, environ: Any) -> None:
        await self.enter_room(sid, "lobby")

    async def on_say(self, sid: str, text: str) -> int:
        await self.emit("said", text, room="lobby", skip_sid=sid)
        return len(text)


async def test_namespace_classes(sio: Server, site: Site) -> None:
    sio.register_namespace(Chat("/chat"))
    async with site.wire() as one, site.wire() as two:
        await one.connect("/chat")
        await two.connect("/chat")
        await one.put('42/chat,5["say","hello"]')
        assert await one.text() == "43/chat,5[5]"
        assert await two.text() == '42/chat,["said","hello"]'
        assert await one.silent()


async def test_catch_all_handlers(sio: Server, site: Site) -> None:
    sio.on("*", lambda event, sid, *args: [event, *args])
    async with site.wire() as wire:
        await wire.connect()
        await wire.put('421["anything",1]')
        assert await wire.text() == '431[["anything",1]]'


async def test_failures_are_acknowledged_where_the_application_says_how(
    sio: Server, site: Site
) -> None:
    """Silence would make a client with retries send the event again and again."""

    def broken(sid: str) -> None:
        raise LookupError("x")

    sio.on("broken", broken)
    sio.hooks.failed = lambda member, event, error: {"event": event, "error": type(error).__name__}
    async with site.wire() as wire:
        await wire.connect()
        await wire.put('421["broken"]', '422["unknown"]')
        assert await wire.text() == '431[{"event":"broken","error":"LookupError"}]'
        assert await wire.text() == '432[{"event":"unknown","error":"NoneType"}]'


async def test_sessions_and_environ(sio: Server, site: Site) -> None:
    async with site.wire(headers={"X-Device": "d1"}) as wire:
        sid = (await wire.connect())["sid"]
        async with sio.session(sid) as session:
            session["name"] = "kim"
        assert await sio.get_session(sid) == {"name": "kim"}
        environ = sio.get_environ(sid)
        assert environ["HTTP_X_DEVICE"] == "d1"
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert sio.transport(sid) == "websocket"


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_stock_python_client(serve: Serve, sio: Server, transports: list[str]) -> None:
    async def ask(sid: str, data: Any) -> Any:
        await sio.emit("told", (data, b"\x00\xff"), to=sid)
        return await sio.call("question", {"n": 1}, to=sid)

    sio.on("ask", ask)
    site = await serve()
    client = socketio.AsyncClient()
    told: asyncio.Queue[Any] = asyncio.Queue()
    client.on("told", lambda *args: told.put_nowait(args))
    client.on("question", lambda data: {"answer": data["n"] + 1, "bytes": b"\x01"})
    await client.connect(site.url, transports=transports, auth={"token": "t"})
    try:
        answer = await client.call("ask", {"text": "안녕", "blob": b"\x02\x03"}, timeout=5)
        assert answer == {"answer": 2, "bytes": b"\x01"}
        assert await told.get() == ({"text": "안녕", "blob": b"\x02\x03"}, b"\x00\xff")
    finally:
        await client.disconnect()
    assert not sio.manager.namespaces["/"].members or await _gone(sio)


async def _gone(sio: Server) -> bool:
    async with asyncio.timeout(5):
        while sio.manager.namespaces["/"].members:
            await asyncio.sleep(0.01)
    return True


async def test_broadcasts(sio: Server, site: Site) -> None:
    async with site.wire() as one, site.wire() as two:
        first = (await one.connect())["sid"]
        second = (await two.connect())["sid"]
        await sio.enter_room(first, "a")
        await sio.emit("x", 1, room="a")
        await sio.emit("x", 2, to=second)
        await sio.emit("x", 3)
        await sio.emit("x", 4, room=["a", second], skip_sid=first)
        await sio.emit("x", (5, {"k": None}), skip_sid=second)
        assert [event(await one.text()) for _ in range(3)] == [
            ["x", 1],
            ["x", 3],
            ["x", 5, {"k": None}],
        ]
        assert [event(await two.text()) for _ in range(3)] == [["x", 2], ["x", 3], ["x", 4]]
