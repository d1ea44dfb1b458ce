"""The console's routes, behind the gate of the API as `dongne up` mounts them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from api.app import create_app
from api.health import Vitals
from hub.console.page import mount
from hub.domain.context import Domain
from hub.domain.people import members, sessions
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.logs import AccessLog
from protocol.domain_events import UserUpdated
from protocol.tokens import read_access

CATCHER = "http://127.0.0.1:4444"
PERSON = {"userId": "local-yeon", "nickname": "연동 주민"}


@dataclass
class Page:
    """The running page; `peer` is who seems to ask."""

    http: aiohttp.ClientSession
    url: str = ""
    peer: str = "127.0.0.1"

    async def token(self, body: Any, **headers: str) -> tuple[int, Any]:
        async with self.http.post(f"{self.url}/console/token", json=body, headers=headers) as reply:
            return reply.status, await reply.json()

    async def get(self, path: str, **headers: str) -> tuple[int, Any, str]:
        async with self.http.get(self.url + path, headers=headers) as reply:
            return reply.status, reply.headers, await reply.text()


@pytest.fixture
async def page(domain: Domain, settings: Settings) -> AsyncIterator[Page]:
    async with aiohttp.ClientSession() as http:
        page = Page(http)

        @web.middleware
        async def from_peer(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            return await handler(request.clone(remote=page.peer))

        limits = Limits(domain.redis.execute_command, domain.keys)
        app = create_app(domain, limits, settings.web, AccessLog("off"), Vitals({}, {}))
        app.middlewares.append(from_peer)
        mount(app, domain, CATCHER)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        page.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield page
        await runner.cleanup()


async def test_a_person_of_the_page_is_made_once(page: Page, domain: Domain) -> None:
    status, body = await page.token(PERSON)
    assert status == 200
    token = read_access(domain.tokens, body["accessToken"], now=domain.now())
    assert token.user_id == "local-yeon"
    await page.token({**PERSON, "nickname": "somebody else"})
    row = await domain.pool.fetchrow("SELECT * FROM users WHERE id = 'local-yeon'")
    assert row is not None
    assert (row["nickname"], row["email"]) == ("연동 주민", "local-yeon@localhost")
    assert row["is_local_verified"]
    assert row["location_consent_at"] is not None


async def test_a_traveller_is_no_local(page: Page, domain: Domain) -> None:
    await page.token({"userId": "traveller-1", "nickname": "여행자"})
    assert not await domain.pool.fetchval("SELECT bool_or(is_local_verified) FROM users")


async def test_without_a_nickname_nobody_is_changed(page: Page, domain: Domain) -> None:
    async with domain.outbox.change() as change:
        await members.update(
            domain, change, UserUpdated(user_id="minji", email="minji@example.org")
        )
    status, _ = await page.token({"userId": "minji"})
    assert status == 200
    row = await domain.pool.fetchrow("SELECT email, location_consent_at FROM users")
    assert row is not None
    assert tuple(row) == ("minji@example.org", None)


@pytest.mark.parametrize("name", ["localhost", "localhost:3001", "127.0.0.1:80", "[::1]:3001"])
async def test_every_loopback_name_is_ours(page: Page, name: str) -> None:
    status, _ = await page.token(PERSON, Host=name)
    assert status == 200


@pytest.mark.parametrize(
    "name",
    ["evil.example", "evil.example:3001", "localhost.evil.example", "localhost@evil.example",
     "127.0.0.2", "10.0.0.1:3001", "[::2]:3001", "::1", "0.0.0.0:3001"],
)  # fmt: skip
async def test_another_name_gets_no_token(page: Page, domain: Domain, name: str) -> None:
    status, body = await page.token(PERSON, Host=name)
    assert (status, body["error"]["code"]) == (403, "FORBIDDEN")
    assert await domain.pool.fetchval("SELECT count(*) FROM users") == 0


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.7"])
@pytest.mark.parametrize("path", ["/", "/console/config.json", "/console/console.js"])
async def test_another_machine_gets_nothing(page: Page, peer: str, path: str) -> None:
    page.peer = peer
    status, _, _ = await page.get(path)
    assert status == 403
    status, body = await page.token(PERSON, Host="localhost:3001")
    assert (status, body["error"]["code"]) == (403, "FORBIDDEN")


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("x-forwarded-for", ""),
        ("X_Forwarded_For", "203.0.113.9"),
        ("X-Forwarded-Host", "hub.example.org"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded", "for=203.0.113.9"),
        ("Forwarded", "for=203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("Via", "1.1 proxy"),
    ],
)
async def test_what_a_proxy_forwards_gets_no_token(
    page: Page, domain: Domain, name: str, value: str
) -> None:
    """A proxy on this machine is a peer on loopback, whoever stands behind it."""
    status, body = await page.token(PERSON, **{name: value, "Host": "localhost:3001"})
    assert (status, body["error"]["code"]) == (403, "FORBIDDEN")
    assert await domain.pool.fetchval("SELECT count(*) FROM users") == 0


async def test_another_sites_page_gets_no_token(page: Page) -> None:
    status, body = await page.token(PERSON, Origin="http://evil.example")
    assert (status, body["error"]["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    "body",
    [{}, [], {"userId": ""}, {"userId": 1}, {"userId": "x" * 129}, {"userId": "a\x00"},
     {"userId": "a", "nickname": "x" * 51}, {"userId": "a", "role": "admin"}],
)  # fmt: skip
async def test_a_request_of_another_form_is_refused(page: Page, body: Any) -> None:
    status, answer = await page.token(body)
    assert (status, answer["error"]["code"]) == (400, "INVALID_PAYLOAD")


async def test_the_page_may_load_from_here_only(page: Page) -> None:
    status, headers, text = await page.get("/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert f"connect-src 'self' {CATCHER};" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" not in text
    assert "onclick" not in text


@pytest.mark.parametrize("name", ["page.py", "package.json", "%2e%2e/cli.py", "nothing.js"])
async def test_only_the_pages_files_are_served(page: Page, name: str) -> None:
    status, _, _ = await page.get(f"/console/{name}")
    assert status == 404


async def test_the_stock_client_is_served_where_node_servers_do(page: Page) -> None:
    status, headers, text = await page.get("/socket.io/socket.io.min.js")
    assert (status, headers["Cache-Control"]) == (200, "public, max-age=3600")
    assert headers["Content-Type"].startswith("text/javascript")
    assert "Socket.IO v4" in text


async def test_what_the_page_is_told(page: Page) -> None:
    _, _, text = await page.get("/console/config.json")
    waves = [(0, 2000), (180, 5000), (420, None)]
    assert json.loads(text) == {
        "catcherUrl": CATCHER,
        "waves": [{"afterS": after_s, "radiusM": radius_m} for after_s, radius_m in waves],
        "claims": 3,
    }


@pytest.mark.parametrize(
    ("user_id", "role"),
    [("console-operator", "admin"), ("Console-operator", "user"), ("local-yeon", "user")],
)
async def test_only_the_pages_operator_is_an_administrator(
    page: Page, domain: Domain, user_id: str, role: str
) -> None:
    _, body = await page.token({"userId": user_id})
    token = read_access(domain.tokens, body["accessToken"], now=domain.now())
    assert (token.user_id, token.role) == (user_id, role)


async def test_the_pages_shop_may_publish_to_streams_only(page: Page, domain: Domain) -> None:
    answers = await asyncio.gather(*(page.token({"userId": "console-shop"}) for _ in range(3)))
    keys = {body["accessToken"] for _, body in answers}
    assert len(keys) == 1
    shop = await sessions.service(domain, keys.pop())
    assert (shop.scopes, shop.room_prefixes, shop.event_types) == (
        frozenset({"broadcast:write"}),
        ("stream:",),
        (),
    )
