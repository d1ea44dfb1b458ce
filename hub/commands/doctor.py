"""`dongne doctor URL`: walks the path through the proxy as clients do, and says what to mend.

It speaks the wire itself (Engine.IO 4, Socket.IO 5), because a client library hides by falling back
what a doctor has to name.
"""

import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson
from typer import colors, echo, style
from yarl import URL

EVERY_S: Final = 10.0
"""How long one answer may take."""

ALONE: Final = {"Connection": "close"}
"""With a request after which the next one is balanced anew."""

TRIES: Final = 6
"""Requests of one session, each on a connection of its own: with two nodes and a proxy that
forgets, one of 64 walks would see all of them arrive."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend`: what to do about it, where it is known."""

    name: str
    well: bool
    said: str
    mend: str = ""


class Broken(Exception):
    """The path is cut here. Its words are the finding's: what was seen, and what to do."""

    def __init__(self, said: str, mend: str = "") -> None:
        super().__init__(said)
        self.said, self.mend = said, mend


@dataclass(frozen=True, slots=True)
class Path:
    """The way to an installation: `url` is what clients are given, `token` an access token."""

    url: URL
    http: aiohttp.ClientSession
    token: str | None

    @property
    def transport(self) -> URL:
        return self.url / "socket.io" / ""


Check = Callable[[Path], Awaitable[str]]


async def ready(path: Path) -> str:
    async with path.http.get(path.url / "health" / "ready") as answer:
        if answer.status != 200:
            raise Broken(
                f"/health/ready answers {answer.status}",
                "is the hub up, and does the proxy pass /health to it?",
            )
        return "a node is ready"


async def _open_polling(path: Path) -> str:
    query = {"EIO": "4", "transport": "polling"}
    async with path.http.get(path.transport.with_query(query), headers=ALONE) as answer:
        text = await answer.text()
    if answer.status != 200 or not text.startswith("0{"):
        raise Broken(
            f"/socket.io/ by polling answers {answer.status} {text[:60]!r}",
            "pass /socket.io/ to the hub, with its query, and allow this Origin (CORS_ORIGINS)",
        )
    sid: str = orjson.loads(text[1:])["sid"]
    return sid


async def polling(path: Path) -> str:
    await _open_polling(path)
    return "a session opens"


async def sticky(path: Path) -> str:
    """A pong is what a session takes at any time, so it disturbs none."""
    sid = await _open_polling(path)
    url = path.transport.with_query({"EIO": "4", "transport": "polling", "sid": sid})
    arrived = 0
    for _ in range(TRIES):
        async with path.http.post(url, data="3", headers=ALONE) as answer:
            arrived += answer.status == 200
    if arrived < TRIES:
        raise Broken(
            f"{TRIES - arrived} of {TRIES} requests of one session reached another node",
            "balance by the client's address or by sid (deploy/nginx, deploy/haproxy),"
            " or serve WebSocket alone (SOCKET_TRANSPORTS=websocket)",
        )
    return f"{TRIES} of {TRIES} requests reached the node that has the session"


@asynccontextmanager
async def _socket(
    path: Path, url: URL | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = url or path.transport
    query = {"EIO": "4", "transport": "websocket", **url.query}
    try:
        async with path.http.ws_connect(url.with_query(query)) as link:
            yield link
    except aiohttp.WSServerHandshakeError as error:
        raise Broken(
            f"the upgrade is answered {error.status}",
            "the proxy must speak HTTP/1.1 to the hub and pass Upgrade and Connection on",
        ) from None


async def _opened(link: aiohttp.ClientWebSocketResponse) -> Mapping[str, Any]:
    """What the hub says of the session: pingInterval in ms, and so on."""
    text = await link.receive_str(timeout=EVERY_S)
    said: Mapping[str, Any] = orjson.loads(text[1:])
    return said


async def websocket(path: Path) -> str:
    async with _socket(path) as link:
        await _opened(link)
    return "a session opens without polling first"


async def upgrade(path: Path) -> str:
    sid = await _open_polling(path)
    url = path.transport.with_query({"sid": sid})
    async with _socket(path, url) as link:
        await link.send_str("2probe")
        if await link.receive_str(timeout=EVERY_S) != "3probe":
            raise Broken("the probe of the upgrade is not answered")
        await link.send_str("5")
    return "a polling session becomes a WebSocket"


async def _connected(link: aiohttp.ClientWebSocketResponse, auth: Mapping[str, str]) -> Any:
    """The `ready` of a CONNECT, or what refused it."""
    await _opened(link)
    await link.send_str("40" + orjson.dumps(auth).decode())
    while True:
        text = await link.receive_str(timeout=EVERY_S)
        if text.startswith("44"):
            refused = orjson.loads(text[2:])
            raise Broken(
                f"CONNECT is refused: {refused['data']['code']}",
                "is the token of this installation?",
            )
        if text.startswith('42["ready"'):
            return orjson.loads(text[2:])[1]


async def connect(path: Path) -> str:
    """With a token: `ready`, an event and its acknowledgement. Without one, the refusal that shows
    that Socket.IO answers."""
    async with _socket(path) as link:
        if path.token is None:
            try:
                await _connected(link, {})
            except Broken as refused:
                if "UNAUTHENTICATED" in refused.said:
                    return "Socket.IO answers; give --token to go on"
                raise
            raise Broken("a socket without a token is let in")
        await _connected(link, {"token": path.token})
        start = time.perf_counter()
        await link.send_str('427["inbox:sync",{"limit":1}]')
        while not (text := await link.receive_str(timeout=EVERY_S)).startswith("437["):
            pass
        took_ms = (time.perf_counter() - start) * 1000
        if not orjson.loads(text[3:])[0]["ok"]:
            raise Broken(f"inbox:sync is answered {text[3:120]}")
    return f"ready, and an event is acknowledged in {took_ms:.0f} ms"


async def recovery(path: Path) -> str:
    """A cut without a close, and the way back, on whichever node the proxy chooses."""
    if path.token is None:
        return "not tried: it needs --token"
    async with _socket(path) as link:
        pid = (await _connected(link, {"token": path.token}))["pid"]
        _cut(link)
    async with _socket(path) as link:
        again = await _connected(link, {"token": path.token, "pid": pid})
    if not again["recovered"]:
        raise Broken(
            "a session that was cut is not recovered",
            "all nodes need the same REDIS_URL, REDIS_PREFIX and ADAPTER_KEY",
        )
    return "a session that was cut is recovered"


def _cut(link: aiohttp.ClientWebSocketResponse) -> None:
    """End the connection as a tunnel does, without a word of WebSocket."""
    with socket.socket(fileno=os.dup(link.get_extra_info("socket").fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


async def msgpack(path: Path) -> str:
    url = (path.url / "socket.io-msgpack" / "").with_query({"EIO": "4", "transport": "polling"})
    async with path.http.get(url) as answer:
        if answer.status != 200:
            raise Broken(
                f"/socket.io-msgpack/ answers {answer.status}",
                "pass it to the hub too, or tell clients that it is not served",
            )
    return "clients with the msgpack parser get through"


async def metrics(path: Path) -> str:
    async with path.http.get(path.url / "metrics") as answer:
        text = await answer.text()
    if answer.status == 200 and "# TYPE" in text:
        raise Broken(
            "/metrics can be read from outside",
            "keep the metrics port and path inside (`dongne up` has them on its one port)",
        )
    return "/metrics is not told outside"


async def routes(path: Path) -> str:
    """Every documented GET, without credentials: whatever the api says, it says it itself."""
    async with path.http.get(path.url / "docs" / "openapi.json") as answer:
        if answer.status != 200:
            raise Broken(
                f"/docs/openapi.json answers {answer.status}",
                "pass /docs and /api/ to the api (API_PORT)",
            )
        paths = orjson.loads(await answer.read())["paths"]
    lost = []
    asked = [name for name, methods in paths.items() if "get" in methods]
    for name in asked:
        url = path.url.joinpath(*_filled(name).strip("/").split("/"))
        async with path.http.get(url, allow_redirects=False) as answer:
            if answer.status >= 500 or (answer.status == 404 and not await _is_ours(answer)):
                lost.append(f"{name} ({answer.status})")
    if lost:
        raise Broken(f"not reached: {', '.join(lost)}", "pass /api/v1 to the api (API_PORT)")
    return f"{len(asked)} documented routes are answered by the api"


def _filled(name: str) -> str:
    """The path with something in the place of its parameters."""
    return "/".join("doctor" if part.startswith("{") else part for part in name.split("/"))


async def _is_ours(answer: aiohttp.ClientResponse) -> bool:
    """Whether a 404 is the api's own: it knows the route, and not what was asked for."""
    try:
        error = orjson.loads(await answer.read())["error"]
        return error["code"] == "NOT_FOUND" and "requestId" in error
    except (ValueError, KeyError, TypeError):
        return False


async def idle(path: Path) -> str:
    """A quiet socket hears the hub's ping, unless a proxy cuts it first."""
    async with _socket(path) as link:
        wait_s = (await _opened(link))["pingInterval"] / 1000
        await link.send_str("40" + orjson.dumps({"token": path.token or ""}).decode())
        start = time.monotonic()
        while (said := await link.receive(timeout=wait_s + EVERY_S)).data != "2":
            if said.type is not aiohttp.WSMsgType.TEXT:
                raise Broken(
                    f"a quiet socket is cut after {time.monotonic() - start:.0f} s",
                    f"the proxy's idle time-out must be over {wait_s:.0f} s (PING_INTERVAL)",
                )
    return f"a quiet socket lives until its ping, {wait_s:.0f} s"


QUICK: Final[Mapping[str, Check]] = {
    "ready": ready,
    "polling": polling,
    "sticky": sticky,
    "websocket": websocket,
    "upgrade": upgrade,
    "connect": connect,
    "recovery": recovery,
    "msgpack": msgpack,
    "metrics": metrics,
    "routes": routes,
}


async def examine(path: Path, checks: Mapping[str, Check]) -> AsyncIterator[Finding]:
    """One check after the other; one that fails ends none of the others."""
    for name, check in checks.items():
        try:
            yield Finding(name, True, await check(path))
        except Broken as broken:
            yield Finding(name, False, broken.said, broken.mend)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            yield Finding(name, False, said, "is the address right, and is the proxy up?")


async def doctor_command(url: str, token: str | None, *, patient: bool) -> int:
    """The exit code: 1 when something must be mended. `patient`: waits for a ping, too."""
    checks = {**QUICK, "idle": idle} if patient and token else dict(QUICK)
    failed = 0
    times = aiohttp.ClientTimeout(total=None, sock_connect=EVERY_S, sock_read=EVERY_S)
    async with aiohttp.ClientSession(timeout=times, cookie_jar=aiohttp.DummyCookieJar()) as http:
        async for one in examine(Path(URL(url), http, token), checks):
            failed += not one.well
            word = style("ok   ", fg=colors.GREEN) if one.well else style("FAIL ", fg=colors.RED)
            echo(f"{word} {one.name:<10} {one.said}")
            if one.mend:
                echo(f"      {'':<10} → {one.mend}")
    return 1 if failed else 0
