"""Who calls and from where, what a body may be before and after its caller is admitted."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from api.peer import address_of, is_secure, origin_allowed
from hub.domain.context import Domain
from hub.plumbing.http.server import LINGER, Times
from hub.plumbing.settings.settings import Settings
from tests.protocol.doors import SITES, WAYS, Site, Way

from .conftest import PREFIX, Door, serve

SESSIONS = f"{PREFIX}/auth/sessions"
QUESTIONS = f"{PREFIX}/questions"


def lines_of(name: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for value in values]


@pytest.mark.fault(4)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_address_of_a_request(way: Way) -> None:
    headers = CIMultiDict(lines_of("X-Forwarded-For", way.lines))
    request = make_mocked_request("GET", "/", headers=headers).clone(remote="127.0.0.1")
    assert address_of(request, way.hops) == way.address


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("line", "people"),
    [("198.51.100.{n}:{n}", 3), ("198.51.100.7:{n}", 1), ("[2001:db8::{n}]:4000", 1)],
)
async def test_anonymous_callers_are_limited_one_by_one(
    open_door: Callable[..., Any], line: str, people: int
) -> None:
    door = await open_door(trust_proxy=1, rate_max=1)
    statuses = []
    for n in range(1, 4):
        headers = {"X-Forwarded-For": line.format(n=n)}
        reply = await door.call("GET", "/docs/codes", headers=headers)
        statuses.append(reply.status)
    assert statuses.count(200) == people


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("hops", "headers", "secure"),
    [
        (0, {"X-Forwarded-Proto": "https"}, False),
        (1, {"X-Forwarded-Proto": "https"}, True),
        (1, {"X-Forwarded-Proto": "https, http"}, False),
        (1, {"X_Forwarded_Proto": "https"}, False),
    ],
)
def test_tls_is_the_proxy_s_word_behind_one_only(
    hops: int, headers: dict[str, str], secure: bool
) -> None:
    assert is_secure(make_mocked_request("GET", "/", headers=headers), hops) is secure


@pytest.mark.fault(30)
async def test_an_underscore_makes_no_forwarded_header(open_door: Callable[..., Any]) -> None:
    door = await open_door(trust_proxy=1, rate_max=1)
    statuses = [
        (await door.call("GET", "/docs/codes", headers={"X_Forwarded_For": f"6.6.6.{n}"})).status
        for n in range(2)
    ]
    assert statuses == [200, 429]


@pytest.mark.fault(6)
@pytest.mark.parametrize("site", SITES, ids=str)
def test_origins(site: Site) -> None:
    headers = CIMultiDict([("Host", site.host), *lines_of("Origin", site.origins)])
    request = make_mocked_request("GET", "/", headers=headers)
    assert origin_allowed(request, site.listed, 0) is site.passes


@pytest.mark.fault(6)
async def test_an_origin_is_answered_as_at_the_other_doors(open_door: Callable[..., Any]) -> None:
    door = await open_door(cors_origins=("file://", "wss://app.example"))
    own = f"ws://127.0.0.1:{door.url[17:]}"
    for origin in ("file://", "WSS://App.example:443", own):
        reply = await door.call("GET", QUESTIONS, headers={"Origin": origin})
        assert reply.status == 200
        shown_to = reply.headers.get("Access-Control-Allow-Origin")
        assert shown_to == (None if origin == own else origin)
        assert "Origin" in reply.headers.getall("Vary")
    refused = await door.call("GET", QUESTIONS, headers={"Origin": "https://app.example"})
    assert (refused.status, refused.code) == (403, "FORBIDDEN")
    assert "Origin" in refused.headers.getall("Vary")
    assert "Access-Control-Allow-Origin" not in refused.headers


# bodies


async def post(door: Door, raw: bytes, coding: str | None, who: str | None) -> Any:
    headers = {"Content-Type": "application/json"}
    if coding is not None:
        headers["Content-Encoding"] = coding
    return await door.call(
        "POST", SESSIONS, headers=headers, as_=who, data=raw, compress=False
    )  # fmt: skip


GOOD = b'{"userId":"u"}'


@pytest.mark.fault(2, 10)
@pytest.mark.parametrize(
    ("raw", "coding", "status"),
    [
        (GOOD, None, 200),
        (GOOD, "identity", 200),
        (gzip.compress(GOOD, mtime=0), "gzip", 200),
        (gzip.compress(GOOD, mtime=0), "X-GZIP", 200),
        (zlib.compress(GOOD), "deflate", 200),
        (zlib.compress(GOOD, wbits=-15), "deflate", 200),
        (GOOD, "gzip", 400),
        (GOOD, "deflate", 400),
        (gzip.compress(GOOD, mtime=0)[:-4], "gzip", 400),
        (gzip.compress(GOOD, mtime=0) + b"more", "gzip", 400),
        (b"\x1f", "gzip", 400),
        (b"", "gzip", 400),
        (GOOD, "br", 415),
        (GOOD, "zstd", 415),
        (gzip.compress(gzip.compress(GOOD, mtime=0), mtime=0), "gzip, gzip", 415),
        (GOOD, "caf\xe9", 415),
        (gzip.compress(b" " * (1 << 20) + GOOD), "gzip", 413),
        (gzip.compress(b" " * (1 << 19) + GOOD), "gzip", 200),
    ],
)
async def test_a_body_is_read_as_its_coding_says_or_refused(
    door: Door, raw: bytes, coding: str | None, status: int
) -> None:
    reply = await post(door, raw, coding, door.key)
    assert reply.status == status
    if status >= 400:
        assert reply.code == "INVALID_PAYLOAD"
    if status == 415:
        assert reply.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.fault(8)
async def test_a_refused_caller_s_gzip_is_not_inflated(door: Door, record_property: Any) -> None:
    """0.9 MB that would be 900 MB: the refusal costs what a plain one does."""
    squeeze, mib = zlib.compressobj(9, zlib.DEFLATED, 31), b" " * (1 << 20)
    first, more = (squeeze.compress(mib) + squeeze.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb = first + more * 899
    cost = {}
    for name, raw, coding in (("plain", b" " * len(bomb), None), ("gzip", bomb, "gzip")):
        begin = time.process_time()
        for _ in range(3):
            reply = await post(door, raw, coding, None)
            assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")
        await asyncio.sleep(0.05)
        cost[name] = (time.process_time() - begin) / 3
    record_property("seen", ", ".join(f"{name} {s * 1000:.0f} ms" for name, s in cost.items()))
    assert cost["gzip"] < cost["plain"] + 0.1  # inflating took half a second


@asynccontextmanager
async def hurried(domain: Domain, settings: Settings, key: str) -> AsyncIterator[Door]:
    times = Times(head=0.2, body=0.2, idle=0.2)
    server, url = await serve(domain, settings, times=times)
    async with aiohttp.ClientSession() as http:
        yield Door(url, domain, http, key)
    await server.close()


@pytest.mark.fault(8, 27)
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 0),
        (b"POST /api/v1/devi", 0),
        (b"GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n", 200),  # then nothing: idle
        (b"GET /health/live HTTP/1.1\r\nHost: h\r\n\r\nGET /hea", 200),
        (b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\n{" % SESSIONS.encode(), 401),
        (
            b"POST %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer KEY\r\nContent-Length: 14\r\n"
            b"Content-Type: application/json\r\n\r\n{" % SESSIONS.encode(),
            408,
        ),
        (
            b"POST %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer KEY\r\nContent-Type: "
            b"application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{" % SESSIONS.encode(),
            408,
        ),
        (
            b"POST %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer KEY\r\nContent-Type: "
            b"application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" % SESSIONS.encode(),
            400,
        ),
    ],
    ids=["nothing", "head", "idle", "next head", "401", "body", "chunk", "bad chunk"],
)
async def test_who_says_nothing_more_is_closed(
    domain: Domain, settings: Settings, service_key: str, head: bytes, status: int
) -> None:
    async with hurried(domain, settings, service_key) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url[17:]))
        writer.write(head.replace(b"KEY", service_key.encode()))
        async with asyncio.timeout(LINGER + 2):
            answer = await reader.read()
        assert int(answer.split(b" ")[1] if answer else 0) == status
        if status >= 400:
            assert b'"error":{"code":' in answer
        writer.close()


@pytest.mark.fault(8, 30)
async def test_what_cannot_be_read_has_our_body_and_no_versions(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url[17:]))
    writer.write(b"GET /health HTTP/1.1\r\nHost: h\r\nCookie: " + b"c" * 9000 + b"\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b'{"error":{"code":"INVALID_PAYLOAD"' in answer
    writer.close()
    reply = await door.call("GET", QUESTIONS)
    for told in (answer.decode(), str(reply.headers)):
        assert "aiohttp" not in told
        assert "Python" not in told
