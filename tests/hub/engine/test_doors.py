"""First bytes: who answers a request, how it is refused, what it may cost, and how long it may
take."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from hub.engine import Options, Server

from .conftest import Serve
from .wire import Site

KEY = b64encode(bytes(16)).decode()
WEBSOCKET = "EIO=4&transport=websocket"
MODULES = Path(__file__).parents[2] / "node" / "node_modules"
NODE = shutil.which("node")


def request(
    *lines: str,
    target: str = f"/socket.io/?{WEBSOCKET}",
    method: str = "GET",
    version: str = "HTTP/1.1",
    upgrade: bool = True,
) -> bytes:
    """The head of an upgrade without a Connection line, unless ``lines`` name one."""
    head = [f"{method} {target} {version}", "Host: h", *lines]
    if upgrade:
        head += ["Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def body_of(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


# one hand-over, in one direction

ODD = {
    "no Connection": (request(), 400),
    "an empty Connection": (request("Connection: "), 400),
    "Connection: close": (request("Connection: close"), 400),
    "nginx, half of its recipe": (request("Connection: close", version="HTTP/1.0"), 400),
    "HTTP/1.0": (request(version="HTTP/1.0"), 400),
    "HTTP/1.0 with Connection": (request("Connection: Upgrade", version="HTTP/1.0"), 400),
    "HTTP/2.0": (request("Connection: Upgrade", version="HTTP/2.0"), 400),
    "absolute form": (
        request("Connection: Upgrade", target=f"http://h/socket.io/?{WEBSOCKET}"),
        101,
    ),
    "percent-encoded": (
        request("Connection: Upgrade", target=f"/socket%2Eio/?{WEBSOCKET}"),
        101,
    ),
    "absolute form, no Connection": (request(target=f"http://h/socket.io/?{WEBSOCKET}"), 400),
    "msgpack": (request("Connection: Upgrade", target=f"/socket.io-msgpack/?{WEBSOCKET}"), 101),
    "msgpack, no Connection": (request(target=f"/socket.io-msgpack/?{WEBSOCKET}"), 400),
    "msgpack, absolute form": (
        request("Connection: Upgrade", target=f"http://h/socket.io-msgpack/?{WEBSOCKET}"),
        101,
    ),
    "a list of upgrades": (request("Connection: Upgrade", "Upgrade: h2c"), 400),
    "with a body": (request("Connection: Upgrade", "Content-Length: 2") + b"{}", 400),
    "chunked": (request("Connection: Upgrade", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "two keys": (request("Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"), 400),
    "lines that end by LF": (request("Connection: Upgrade").replace(b"\r\n", b"\n"), 400),
    "expects tea": (request("Connection: Upgrade", "Expect: tea"), 101),
    **{
        method: (request("Connection: Upgrade", method=method), 400)
        for method in ("POST", "PUT", "HEAD", "DELETE", "PATCH", "get")
    },
}


@pytest.mark.fault(1)
@pytest.mark.parametrize("name", ODD)
async def test_an_odd_upgrade_is_answered_once_and_at_once(
    site: Site, sio: Server, name: str, record_property: Any
) -> None:
    """At first, and behind another request on the same connection, as pools send it; afterwards the
    process is idle."""
    head, status = ODD[name]
    begin = time.perf_counter()
    assert status_of(await site.raw(head)) == status
    record_property("seen", f"{name}: {status} in {(time.perf_counter() - begin) * 1000:.0f} ms")
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request(target="/nothing", upgrade=False))
    assert status_of(await one_answer(reader)) == 404
    writer.write(head)
    assert status_of(await one_answer(reader, bodiless=name == "HEAD")) == status
    writer.close()
    busy = time.process_time()
    await asyncio.sleep(0.1)
    assert time.process_time() - busy < 0.05


async def one_answer(
    reader: asyncio.StreamReader, *, bodiless: bool = False, patience: float = 1
) -> bytes:
    async with asyncio.timeout(patience):
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        return head + (await reader.readexactly(int(size[1])) if size and not bodiless else b"")


NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
HALF = """
daemon off; pid {dir}/pid; error_log stderr; worker_processes 1; events {{ }}
http {{
  access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
  uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen unix:{dir}/socket;
    location / {{
      proxy_pass http://127.0.0.1:{port}; proxy_set_header Upgrade $http_upgrade; {more}
    }}
  }}
}}
"""


@pytest.mark.fault(1)
@pytest.mark.skipif(NGINX is None, reason="nginx is not here")
@pytest.mark.parametrize(
    ("more", "status"),
    [
        ("", 400),  # HTTP/1.0 and Connection: close
        ("proxy_http_version 1.1;", 400),
        ("proxy_http_version 1.1; proxy_set_header Connection '';", 400),
        ("proxy_http_version 1.1; proxy_set_header Connection upgrade;", 101),
    ],
)
async def test_through_nginx_with_half_of_its_recipe(
    site: Site, tmp_path: Path, more: str, status: int
) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text(HALF.format(dir=tmp_path, port=site.port, more=more))
    nginx = await asyncio.create_subprocess_exec(
        *(NGINX or "nginx", "-e", "stderr", "-c", str(config)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        reader, writer = await _when_it_listens(tmp_path / "socket")
        writer.write(request("Connection: Upgrade"))
        assert status_of(await one_answer(reader)) == status
        writer.close()
    finally:
        nginx.terminate()
        await nginx.wait()


async def _when_it_listens(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncio.open_unix_connection(path)
            except OSError:
                await asyncio.sleep(0.01)


@pytest.mark.fault(1)
async def test_an_upgrade_behind_another_request_brings_its_first_frames(site: Site) -> None:
    """Whatever stands behind the head, aiohttp has read already."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request(target="/nothing", upgrade=False))
    await one_answer(reader)
    writer.write(request("Connection: keep-alive, Upgrade") + b"\x81\x82\0\0\0\00040")
    got = b""
    async with asyncio.timeout(5):
        while b'40{"sid"' not in got:
            got += await reader.read(999)
    assert got.startswith(b"HTTP/1.1 101 ")
    writer.close()


@pytest.mark.fault(1)
async def test_a_request_that_was_refused_as_upgrade_leaves_the_connection_usable(
    site: Site,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for _ in range(3):
        writer.write(request())
        assert body_of(await one_answer(reader)) == {"code": 3, "message": "Bad request"}
        writer.write(request("Connection: Upgrade", method="POST"))
        assert body_of(await one_answer(reader)) == {"code": 2, "message": "Bad handshake method"}
    writer.close()


# what one handshake may hold


@pytest.mark.fault(2)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_any_number_of_query_keys(site: Site, sio: Server, transport: str) -> None:
    more = "&".join(f"k{n}={n}" for n in range(70))
    target = f"/socket.io/?{more}&EIO=4&transport={transport}&t=x"
    head = request("Connection: Upgrade", target=target, upgrade=transport == "websocket")
    assert status_of(await site.raw(head)) == (101 if transport == "websocket" else 200)
    (link,) = sio.eio.sockets.values()
    assert "k69=69" in link.environ["QUERY_STRING"]


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (("ferry.v1",), b"Sec-WebSocket-Protocol: ferry.v1\r\n"),
        (("ferry.v1, island",), b"Sec-WebSocket-Protocol: ferry.v1\r\n"),
        (("ferry.v1", "island"), b"Sec-WebSocket-Protocol: ferry.v1\r\n"),
        ((), b""),
        (("a,,b",), None),
        (("a b",), None),
        (("a, a",), None),
        (("",), None),
    ],
)
async def test_a_subprotocol_is_taken_as_the_official_server_takes_it(
    site: Site, lines: tuple[str, ...], answer: bytes | None
) -> None:
    asked = (f"Sec-WebSocket-Protocol: {line}" for line in lines)
    got = await site.raw(request("Connection: Upgrade", *asked))
    if answer is None:
        assert status_of(got) == 400
    else:
        assert status_of(got) == 101
        assert answer in got
        assert (b"Sec-WebSocket-Protocol" in got) is bool(answer)


@pytest.mark.fault(2)
@pytest.mark.skipif(NODE is None or not MODULES.is_dir(), reason="node is not here")
async def test_a_stock_client_with_a_subprotocol_and_many_keys(site: Site) -> None:
    script = """
const { io } = require("socket.io-client");
const query = Object.fromEntries(Array.from({ length: 70 }, (_, i) => ["k" + i, i]));
const s = io(process.argv[1], { transports: ["websocket"], protocols: ["ferry.v1"], query });
s.on("connect", () => { console.log("connected"); process.exit(0); });
s.on("connect_error", (e) => { console.log(e.message); process.exit(1); });
"""
    process = await asyncio.create_subprocess_exec(
        *(NODE or "node", "-e", script, site.url),
        env={**os.environ, "NODE_PATH": str(MODULES)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out == b"connected\n"


@pytest.mark.fault(2)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "nonsense"])
async def test_a_plain_body_that_says_gzip_is_read_as_it_is(site: Site, coding: str) -> None:
    """The official server looks at no Content-Encoding."""
    sid = await site.open_polling()
    url = f"{site.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
    async with site.http.post(
        url, data=b"40", headers={"Content-Encoding": coding}, compress=False
    ) as response:
        assert (response.status, await response.text()) == (200, "ok")
    assert (await site.poll(sid))[1].startswith('40{"sid"')


# refusals


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("query", "method", "number", "message"),
    [
        ("EIO=4&transport=carrier-pigeon", "GET", 0, "Transport unknown"),
        ("EIO=4", "GET", 0, "Transport unknown"),
        ("EIO=4&transport=polling&sid=nobody", "GET", 1, "Session ID unknown"),
        ("EIO=4&transport=polling&sid=nobody", "POST", 1, "Session ID unknown"),
        ("EIO=4&transport=polling", "POST", 2, "Bad handshake method"),
        ("EIO=4&transport=websocket", "GET", 3, "Bad request"),
        ("EIO=3&transport=polling", "GET", 5, "Unsupported protocol version"),
        ("transport=polling", "GET", 5, "Unsupported protocol version"),
    ],
)
async def test_refusals_over_polling_carry_the_official_json(
    site: Site, query: str, method: str, number: int, message: str, record_property: Any
) -> None:
    async with site.http.request(method, f"{site.url}/socket.io/?{query}") as response:
        assert response.status == 400
        assert response.content_type == "application/json"
        assert await response.json() == {"code": number, "message": message}
    record_property("seen", f"{number} {message}")


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("EIO=4&transport=carrier-pigeon", 0),
        ("EIO=4&transport=websocket&sid=nobody", 1),
        ("EIO=4&transport=polling", 3),
        ("EIO=3&transport=websocket", 5),
        ("transport=websocket", 5),
    ],
)
async def test_refused_upgrades_carry_it_too(site: Site, query: str, number: int) -> None:
    answer = await site.raw(request("Connection: Upgrade", target=f"/socket.io/?{query}"))
    assert status_of(answer) == 400
    assert body_of(answer)["code"] == number


@pytest.mark.fault(23)
async def test_a_session_is_asked_in_its_own_version_and_by_its_own_transport(site: Site) -> None:
    sid = await site.open_polling()
    bad = '{"code":3,"message":"Bad request"}'
    assert await site.get(f"EIO=3&transport=polling&sid={sid}") == (400, bad)
    async with site.wire() as wire:
        opened = wire.opened["sid"]
        assert await site.get(f"EIO=4&transport=polling&sid={opened}") == (400, bad)


async def test_a_transport_that_is_not_offered_is_refused_at_both_doors(serve: Serve) -> None:
    site = await serve(Server(Options(transports=("polling",))))
    assert body_of(await site.raw(request("Connection: Upgrade")))["code"] == 0
    site = await serve(Server(Options(transports=("websocket",))))
    assert json.loads((await site.get("EIO=4&transport=polling"))[1])["code"] == 0
