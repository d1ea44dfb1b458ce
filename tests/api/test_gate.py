"""What every request meets: ids, headers, origins, compression, limits, metrics."""

import asyncio
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from hub.domain.people import sessions
from hub.plumbing.telemetry.metrics import REGISTRY
from tests.api.conftest import PREFIX, Door, errors_counted

QUESTIONS = f"{PREFIX}/questions"


async def test_the_request_id_comes_back(door: Door) -> None:
    given = await door.call("GET", QUESTIONS, headers={"X-Request-ID": "abc-1"})
    assert given.headers["X-Request-ID"] == "abc-1"
    hostile = await door.call("GET", f"{PREFIX}/none", headers={"X-Request-ID": "a b\tc" * 99})
    made = hostile.headers["X-Request-ID"]
    assert len(made) == 36
    assert hostile.body["error"]["requestId"] == made


@pytest.mark.parametrize("path", [QUESTIONS, "/none", "/health/live", "/docs", "/metrics"])
async def test_every_answer_carries_the_security_headers(door: Door, path: str) -> None:
    headers = (await door.call("GET", path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Strict-Transport-Security" not in headers


async def test_hsts_only_behind_a_trusted_proxys_tls(open_door: Callable[..., Any]) -> None:
    behind = await open_door(trust_proxy=1)
    tls = {"X-Forwarded-Proto": "https"}
    reply = await behind.call("GET", "/health/live", headers=tls)
    assert "max-age" in reply.headers["Strict-Transport-Security"]
    direct = await open_door()
    reply = await direct.call("GET", "/health/live", headers=tls)
    assert "Strict-Transport-Security" not in reply.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "file://x"])
async def test_another_origin_is_refused(door: Door, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        reply = await door.call(method, QUESTIONS, headers=headers)
        assert (reply.status, reply.code) == (403, "FORBIDDEN")
        assert "Access-Control-Allow-Origin" not in reply.headers


async def test_the_same_origin_passes(door: Door) -> None:
    reply = await door.call("GET", QUESTIONS, headers={"Origin": door.url})
    assert reply.status == 200
    assert "Access-Control-Allow-Origin" not in reply.headers


async def test_a_named_origin_passes_and_may_ask_first(open_door: Callable[..., Any]) -> None:
    door = await open_door(cors_origins=("https://app.example",))
    origin = {"Origin": "https://app.example"}
    reply = await door.call("GET", QUESTIONS, headers=origin)
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Origin" in reply.headers.getall("Vary")
    asked = await door.call(
        "OPTIONS", QUESTIONS, headers=origin | {"Access-Control-Request-Method": "POST"}
    )
    assert asked.status == 204
    assert "Idempotency-Key" in asked.headers["Access-Control-Allow-Headers"]
    failed = await door.call("GET", f"{PREFIX}/none", headers=origin)
    assert failed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert (
        await door.call("GET", QUESTIONS, headers={"Origin": "https://b.example"})
    ).status == 403


async def test_bodies_are_compressed_from_1024_bytes(door: Door) -> None:
    path = f"{door.url}{PREFIX}/neighbourhoods"
    sizes = {}
    for coding in ("gzip", "identity", "gzip;q=0", "br, gzip;q=0.5"):
        async with door.http.get(
            path, headers={"Accept-Encoding": coding}, auto_decompress=False
        ) as answer:
            raw = await answer.read()
            packed = answer.headers.get("Content-Encoding") == "gzip"
            assert packed == (coding in ("gzip", "br, gzip;q=0.5"))
            assert "Accept-Encoding" in answer.headers.getall("Vary")
            sizes[packed] = len(raw)
            assert len(json.loads(gzip.decompress(raw) if packed else raw)["items"]) == 43
    assert sizes[True] < sizes[False] * 0.4  # S4-18: 60 to 80 % saved
    small = await door.call("GET", "/health/live", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


async def test_head_answers_as_get_without_a_body(door: Door) -> None:
    reply = await door.call("HEAD", QUESTIONS)
    assert (reply.status, reply.raw) == (200, b"")


async def test_one_connection_carries_many_requests(door: Door) -> None:
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for path in ("/health/live", "/none", "/health/live"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.split("content-length: ")[1].split("\r\n")[0]
        await reader.readexactly(int(length))
        assert "connection: close" not in head
    writer.close()


OF_ITS_OWN = {"Date", "X-Request-ID", "X-RateLimit-Remaining", "Connection"}


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("proto", ["http", "https"])
@pytest.mark.parametrize("who", ["", "asker"])
async def test_what_is_written_ready_made_says_what_every_answer_says(
    open_door: Callable[..., Any], coding: str, proto: str, who: str
) -> None:
    """Whoever wants the connection closed is answered the ordinary way; so is a second asking."""
    door = await open_door(trust_proxy=1)
    headers = {"Accept-Encoding": coding, "X-Forwarded-Proto": proto}
    heads, bodies = [], []
    for connection in ("keep-alive", "close", "keep-alive"):
        reply = await door.call(
            "GET",
            f"{PREFIX}/neighbourhoods",
            as_=who or None,
            headers={**headers, "Connection": connection},
        )
        assert reply.status == 200
        assert ("Connection" in reply.headers) == (connection == "close")
        heads.append(sorted(item for item in reply.headers.items() if item[0] not in OF_ITS_OWN))
        bodies.append(reply.body)
        assert OF_ITS_OWN - {"Connection"} <= set(reply.headers)
    assert heads[0] == heads[1] == heads[2]
    assert bodies[0] == bodies[1] == bodies[2]


async def test_ready_made_answers_keep_their_turn_on_a_connection(door: Door) -> None:
    """Several asked at once, one by HTTP/1.0, which has none, at the end."""
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    ask = "GET {} HTTP/1.{}\r\nHost: " + host + "\r\n\r\n"
    paths = (f"{PREFIX}/regions", "/health/live", f"{PREFIX}/neighbourhoods", f"{PREFIX}/regions")
    last = ask.format(paths[-1], 0)
    writer.write("".join([*(ask.format(path, 1) for path in paths[:-1]), last]).encode())
    sizes = []
    for _ in paths:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert " 200 ok\r\n" in head
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        sizes.append(length)
        json.loads(await reader.readexactly(length))
    assert sizes[0] == sizes[3]
    assert sizes[2] > sizes[0] > sizes[1]
    assert await reader.read() == b"", "HTTP/1.0 ends with its answer"
    writer.close()


async def test_caching_is_told(door: Door) -> None:
    assert (await door.call("GET", QUESTIONS)).headers["Cache-Control"] == "public, max-age=300"
    mine = await door.call("GET", QUESTIONS, as_="asker")
    assert mine.headers["Cache-Control"] == "no-store"
    regions = await door.call("GET", f"{PREFIX}/regions")
    assert regions.headers["Cache-Control"] == "public, max-age=3600, s-maxage=86400"
    trending = await door.call("GET", f"{PREFIX}/trending")
    assert trending.headers["Cache-Control"] == "public, max-age=600"
    missing = await door.call("GET", f"{QUESTIONS}/none")
    assert missing.headers["Cache-Control"] == "no-store"


async def test_one_line_a_request_without_its_secrets(
    open_door: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "access")
    door = await open_door(access="all")
    token = door.token("asker")
    with capture_logs() as lines:
        await door.call(
            "GET", f"{QUESTIONS}?region=jeju", as_=token, headers={"User-Agent": "stock/1"}
        )
        await door.call("GET", f"{QUESTIONS}/none")
    found, missing = (line for line in lines if line["event"] == "request")
    assert (found["method"], found["path"], found["statusCode"]) == ("GET", QUESTIONS, 200)
    assert (found["userId"], found["userAgent"], found["ip"]) == ("asker", "stock/1", "127.0.0.1")
    assert found["duration"] >= 0
    assert (missing["statusCode"], missing["userId"]) == (404, None)
    assert token not in str(lines)


async def test_what_fails_here_is_logged_and_says_nothing(open_door: Callable[..., Any]) -> None:
    door = await open_door()
    await door.ask()
    await door.domain.pool.execute("ALTER TABLE questions RENAME COLUMN title TO headline")
    before = errors_counted("INTERNAL")
    with capture_logs() as lines:
        reply = await door.call("GET", QUESTIONS)
    assert (reply.status, reply.code) == (500, "INTERNAL")
    assert "title" not in reply.raw.decode()
    assert reply.headers["X-Frame-Options"] == "DENY"
    assert [line["event"] for line in lines] == ["a request failed"]
    assert errors_counted("INTERNAL") == before + 1


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_requests_are_counted_by_their_pattern(door: Door) -> None:
    route = {"method": "GET", "route": "/api/v1/questions/{id}", "status_code": "404"}
    unknown = {"method": "GET", "route": "unknown", "status_code": "404"}
    before = [sample("http_requests_total", **labels) for labels in (route, unknown)]
    await door.call("GET", f"{QUESTIONS}/q-1")
    await door.call("GET", f"{QUESTIONS}/q-2")
    await door.call("GET", "/some/scanner/path.php")
    assert sample("http_requests_total", **route) == before[0] + 2
    assert sample("http_requests_total", **unknown) == before[1] + 1
    assert sample("http_request_duration_seconds_count", **route) >= 2
    shown = await door.call("GET", "/metrics")
    assert shown.headers["Content-Type"].startswith("text/plain; version=")
    assert b"http_requests_in_flight 1.0" in shown.raw
    assert b"q-1" not in shown.raw
    assert b"scanner" not in shown.raw


async def test_a_routes_own_limit_holds_for_each_person(door: Door) -> None:
    replies = [
        await door.call("POST", QUESTIONS, {"title": "t", "content": "c"}, as_="asker")
        for _ in range(6)
    ]
    assert [reply.status for reply in replies] == [201] * 5 + [429]
    assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == list("432100")
    last = replies[-1]
    assert last.code == "RATE_LIMITED"
    assert last.headers["X-RateLimit-Limit"] == "5"
    assert 0 < int(last.headers["Retry-After"]) <= 60
    assert 0 < last.body["error"]["retryAfterMs"] <= 60_000
    other = await door.call("POST", QUESTIONS, {"title": "t", "content": "c"}, as_="haru")
    assert other.status == 201
    assert await door.count("questions") == 6


async def test_the_default_limit_is_ten_a_minute_a_route(door: Door) -> None:
    statuses = [
        (await door.call("GET", f"{PREFIX}/devices", as_="asker")).status for _ in range(11)
    ]
    assert statuses == [200] * 10 + [429]
    assert (await door.call("DELETE", f"{PREFIX}/locations/me", as_="asker")).status == 204


async def test_strangers_share_one_limit_an_address(open_door: Callable[..., Any]) -> None:
    door = await open_door(rate_max=3, trust_proxy=1)

    async def get(path: str, address: str) -> int:
        headers = {"X-Forwarded-For": f"6.6.6.6, {address}"}
        return int((await door.call("GET", path, headers=headers)).status)

    regions, places = f"{PREFIX}/regions", f"{PREFIX}/neighbourhoods"
    assert [await get(path, "1.2.3.4") for path in (regions, places, regions, places)] == [
        200, 200, 200, 429,
    ]  # fmt: skip
    assert await get(regions, "1.2.3.5") == 200
    v6 = [await get(regions, f"2001:db8::{n}") for n in range(1, 5)]
    assert v6 == [200, 200, 200, 429], "a /64 is one household"
    assert await get("/health/live", "1.2.3.4") == 200


async def test_sessions_are_limited_by_the_person_they_are_for(door: Door) -> None:
    async def opened(user_id: str) -> int:
        path = f"{PREFIX}/auth/sessions"
        return (await door.call("POST", path, {"userId": user_id}, as_=door.key)).status

    assert [await opened("minji") for _ in range(11)] == [200] * 10 + [429]
    assert await opened("haru") == 200


async def test_a_service_is_limited_in_calls_and_in_items(door: Door) -> None:
    await door.domain.pool.execute(
        "UPDATE service_clients SET calls_per_min = 5, items_per_min = 12"
    )

    async def publish(number: int) -> int:
        events = [
            {
                "eventId": str(uuid4()),
                "eventType": "user.registered",
                "occurredAt": datetime.now(UTC).isoformat(),
                "payload": {"userId": f"u{n}"},
            }
            for n in range(number)
        ]
        return (await door.call("POST", f"{PREFIX}/events", events, as_=door.key)).status

    assert await publish(10) == 202
    assert await publish(3) == 429
    assert await door.count("inbox_events") == 10, "a list is refused whole"
    assert await publish(2) == 202
    assert await publish(1) == 429
    assert await publish(1) == 429
    notify = {"kind": "news", "title": "t", "body": "b", "userId": "u1"}
    over = await door.call("POST", f"{PREFIX}/notifications", notify, as_=door.key)
    assert (over.status, over.headers["X-RateLimit-Limit"]) == (429, "5")


async def test_scopes_are_needed(door: Door) -> None:
    key = await sessions.add_service(door.domain, "narrow", scopes=("mail:feedback",))
    cases = [
        ("auth/sessions", {"userId": "x"}),
        ("notifications", {"kind": "k", "title": "t", "body": "b", "userId": "u"}),
        ("events", []),
        ("rooms/tag:x/broadcasts", {"event": "sale", "data": {}}),
    ]
    for path, body in cases:
        reply = await door.call("POST", f"{PREFIX}/{path}", body, as_=key)
        assert (reply.status, reply.code) == (403, "FORBIDDEN"), path
        reply = await door.call("POST", f"{PREFIX}/{path}", body, as_="a-person")
        assert (reply.status, reply.code) == (403, "FORBIDDEN"), path
        assert (await door.call("POST", f"{PREFIX}/{path}", body)).status == 401, path


async def test_a_mounted_page_goes_through_the_gate(open_door: Callable[..., Any]) -> None:
    async def page(request: web.Request) -> web.Response:
        if request.query:
            raise web.HTTPFound("/page")
        return web.Response(text="hello", headers={"Content-Security-Policy": "img-src 'self'"})

    door = await open_door(mount=lambda app: app.router.add_get("/page", page))
    reply = await door.call("GET", "/page?old=1")
    assert (reply.status, reply.raw) == (200, b"hello")
    assert reply.headers["Content-Security-Policy"] == "img-src 'self'"
    assert reply.headers["X-Frame-Options"] == "DENY"
