"""The stock JavaScript client, and the admin interface of the library."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import socketio

from hub.engine import Event, Server

from .conftest import Serve
from .wire import Site, event

PEERS = Path(__file__).parents[2] / "node" / "node_modules"
NODE = shutil.which("node")

SCRIPT = """
const { io } = require("socket.io-client");
const [url, options] = [process.argv[1], JSON.parse(process.argv[2])];
if (options.msgpack) { options.parser = require("socket.io-msgpack-parser"); }
const say = (...args) => console.log(JSON.stringify(args));
const socket = io(url + (options.nsp || ""), options);
let n = 0;
socket.on("connect", async () => {
  say("connect", !!socket.recovered);
  if (n++) return;
  const bytes = Buffer.from([1, 2, 3]);
  const [text, back] = await socket.emitWithAck("echo", "안녕", bytes);
  say("ack", text, Buffer.compare(Buffer.from(back), bytes));
});
socket.on("told", (data, offset) => say("told", data, offset));
socket.on("question", (data, reply) => reply(data + 1));
socket.on("connect_error", (error) => say("connect_error", error.message));
socket.on("disconnect", (reason) => {
  say("disconnect", reason);
  if (!socket.active) process.exit(0);
});
socket.io.engine.on("upgrade", (transport) => say("upgrade", transport.name));
"""


class JavaScript:
    """One stock client in a process of its own; it says what it hears, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, site: Site, **options: Any) -> JavaScript:
        process = await asyncio.create_subprocess_exec(
            *(NODE or "node", "-e", SCRIPT, site.url, json.dumps(options)),
            env={**os.environ, "NODE_PATH": str(PEERS)},
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def line(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 10)
        return json.loads(line or "null")

    async def hears(self, *wanted: Any) -> None:
        assert await self.line() == list(wanted)

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


javascript = pytest.mark.skipif(
    NODE is None or not (PEERS / "socket.io-client").is_dir(),
    reason="node and tests/node/node_modules are not here",
)


@javascript
@pytest.mark.parametrize(
    "client_options",
    [
        {"transports": ["websocket"]},
        {"transports": ["polling"]},
        {},
        {"transports": ["websocket"], "path": "/socket.io-msgpack/", "msgpack": True},
    ],
    ids=["websocket", "polling", "upgrade", "msgpack"],
)
async def test_stock_javascript_client(
    serve: Serve, sio: Server, client_options: dict[str, Any]
) -> None:
    sio.on("echo", lambda sid, *args: (list(args),))
    joined: asyncio.Queue[str] = asyncio.Queue()
    sio.on("connect", lambda sid, environ, auth: joined.put_nowait(sid))
    site = await serve()
    client = await JavaScript.start(site, **client_options)
    try:
        sid = await asyncio.wait_for(joined.get(), 10)
        heard = [await client.line() for _ in range(2 if client_options else 3)]
        upgrades = [] if client_options else [["upgrade", "websocket"]]
        assert sorted(heard) == [["ack", "안녕", 0], ["connect", False], *upgrades]
        sio.deliver(Event(["told", {"n": 1}], offset="000001"), [sid])
        await client.hears("told", {"n": 1}, "000001")
        assert await sio.call("question", 41, to=sid, timeout=5) == 42
        await sio.disconnect(sid)
        await client.hears("disconnect", "io server disconnect")
    finally:
        await client.end()


@javascript
async def test_a_cut_client_comes_back_and_recovers(serve: Serve, sio: Server) -> None:
    log: list[Event] = []
    back = asyncio.Event()

    def admit(member: Any, auth: Any) -> dict[str, Any]:
        if member.pid == "the pid":
            assert sio.rename(member, "the sid")
            sio.enter(member, "r")
            member.replay([e for e in log if e.offset is not None and e.offset > member.offset])
            back.set()
            return {"pid": "the pid"}
        assert sio.rename(member, "the sid")
        sio.enter(member, "r")
        return {"pid": "the pid"}

    sio.hooks.admit = admit
    sio.on("echo", lambda sid, *args: (list(args),))
    site = await serve()
    client = await JavaScript.start(
        site, transports=["websocket"], reconnectionDelay=10, reconnectionDelayMax=20
    )
    try:
        await client.hears("connect", False)
        await client.hears("ack", "안녕", 0)
        for number in (1, 2):
            log.append(Event(["told", number], offset=f"00000{number}"))
        sio.deliver(log[0], ["r"])
        await client.hears("told", 1, "000001")
        sio.cut(next(sio.members()))
        await client.hears("disconnect", "transport close")
        await asyncio.wait_for(back.wait(), 10)
        await client.hears("told", 2, "000002")
        await client.hears("connect", True)
    finally:
        await client.end()


async def test_instrument(serve: Serve, sio: Server) -> None:
    """The library's admin interface: it patches the server, and the fast paths step aside."""
    sio.on("echo", lambda sid, data: data)
    admin_server = sio.instrument(auth=False, server_stats_interval=0.05)
    site = await serve()
    admin = socketio.AsyncClient()
    heard: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()
    admin.on("*", lambda name, *args: heard.put_nowait((name, args)), namespace="/admin")
    await admin.connect(site.url, namespaces=["/admin"], transports=["websocket"])

    passed: list[tuple[str, tuple[Any, ...]]] = []

    async def hears(
        wanted: str, right: Callable[[tuple[Any, ...]], bool] = lambda _: True
    ) -> tuple[Any, ...]:
        """The first that is right; rooms are told with the figures, whenever those are due."""

        def found() -> list[tuple[Any, ...]]:
            return [args for name, args in passed if name == wanted and right(args)]

        async with asyncio.timeout(10):
            while not found():
                passed.append(await heard.get())
        return found()[0]

    try:
        await hears("all_sockets")
        async with site.wire() as wire:
            sid = (await wire.connect())["sid"]
            socket, _ = await hears("socket_connected", lambda args: args[0]["id"] == sid)
            assert (socket["nsp"], socket["transport"]) == ("/", "websocket")
            await sio.enter_room(sid, "r")
            await wire.put('421["echo",5]')
            assert await wire.text() == "431[5]"
            assert (await hears("event_received"))[2] == ["echo", 5]
            await sio.emit("x", 1, room="r")
            assert event(await wire.text()) == ["x", 1]
            assert (await hears("event_sent"))[:2] == ("/", sid)
            await hears("server_stats", lambda args: args[0]["clientsCount"] == 2)
            await hears("room_joined", lambda args: args[1] == "r")
        assert (await hears("socket_disconnected"))[:2] == ("/", sid)
    finally:
        await admin.disconnect()
        await admin_server.shutdown()
        admin_server.uninstrument()
