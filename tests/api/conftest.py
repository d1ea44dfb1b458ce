"""The REST door on a real port, with real stores behind it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

from api.app import create_app
from api.health import Vitals
from hub.domain.context import Domain
from hub.domain.people import sessions
from hub.plumbing.http.connections import Connections
from hub.plumbing.http.server import HttpServer, Times
from hub.plumbing.limits.fleet import Limits
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.redis_client import probe
from hub.plumbing.telemetry.logs import AccessLog
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.tokens import sign_access

PREFIX = "/api/v1"
JEJU = {"lat": 33.4996, "lng": 126.5312}


@dataclass
class Reply:
    """A whole answer."""

    status: int
    headers: Any
    raw: bytes
    body: Any

    @property
    def code(self) -> str | None:
        """Of an error; None when it went well."""
        return self.body["error"]["code"] if self.status >= 400 else None


@dataclass
class Door:
    """A client of the running door. `key`: a service key with all scopes."""

    url: str
    domain: Domain
    http: aiohttp.ClientSession
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        """`as_`: a user id, a token or a service key."""
        headers = {**self.headers, **options.pop("headers", {})}
        who = options.pop("as_", None)
        if who is not None:
            headers["Authorization"] = f"Bearer {who if len(who) > 40 else self.token(who)}"
        if body is not None:
            options["json"] = body
        url = path if path.startswith("http") else self.url + path
        async with self.http.request(method, url, headers=headers, **options) as answer:
            raw = await answer.read()
            is_json = raw and answer.content_type == "application/json"
            return Reply(
                answer.status, answer.headers, raw, await answer.json() if is_json else None
            )

    def token(self, user_id: str, **changes: Any) -> str:
        options: dict[str, Any] = {"now": self.domain.now(), "ttl_s": 900, "jti": str(uuid4())}
        role = changes.pop("role", "user")
        return sign_access(self.domain.tokens, user_id, role, **(options | changes))

    async def ask(self, who: str = "asker", /, **changes: Any) -> dict[str, Any]:
        body = {"title": "약국", "content": "약국이 어디에 있나요?"} | changes
        reply = await self.call("POST", f"{PREFIX}/questions", body, as_=who)
        assert reply.status == 201, reply.body
        assert isinstance(reply.body, dict)
        return reply.body

    async def answer(self, question_id: str, who: str = "answerer") -> dict[str, Any]:
        body = {"questionId": question_id, "content": "길 건너편이요."}
        reply = await self.call("POST", f"{PREFIX}/answers", body, as_=who)
        assert reply.status == 201, reply.body
        assert isinstance(reply.body, dict)
        return reply.body

    async def count(self, table: str, where: str = "true") -> int:
        count: int = await self.domain.pool.fetchval(f"SELECT count(*) FROM {table} WHERE {where}")
        return count


def errors_counted(code: str) -> float:
    return REGISTRY.get_sample_value("errors_total", {"door": "http", "code": code}) or 0.0


async def serve(
    domain: Domain,
    settings: Settings,
    vitals: Vitals | None = None,
    access: Literal["all", "errors", "off"] = "off",
    mount: Callable[[web.Application], object] = lambda _: None,
    times: Times | None = None,
    **web_changes: Any,
) -> tuple[HttpServer, str]:
    """Start the door; `mount` adds pages as the console does, `web_changes` are settings."""
    part = settings.web.model_copy(update=web_changes)
    limits = Limits(domain.redis.execute_command, domain.keys)
    vitals = vitals or Vitals(
        needed={"database": lambda: domain.pool.fetchval("SELECT 1")},
        reported={"redis": partial(probe, domain.redis, domain.keys.probe)},
    )
    app = create_app(domain, limits, part, AccessLog(access), vitals, "1.2.3", with_metrics=True)
    mount(app)
    server = HttpServer(app, Connections(None, 1_000), times or Times(), shutdown_timeout=5)
    port = await server.listen("127.0.0.1", 0)
    return server, f"http://127.0.0.1:{port}"


@pytest.fixture
async def service_key(domain: Domain) -> str:
    return await sessions.add_service(domain, "qa-service")


@pytest.fixture
async def door(domain: Domain, settings: Settings, service_key: str) -> AsyncIterator[Door]:
    server, url = await serve(domain, settings)
    async with aiohttp.ClientSession() as http:
        yield Door(url, domain, http, service_key)
    await server.close()


@pytest.fixture
async def open_door(
    domain: Domain, settings: Settings, service_key: str
) -> AsyncIterator[Callable[..., Any]]:
    """Another door with changed settings: `await open_door(cors_origins=(...))`."""
    servers = []
    async with aiohttp.ClientSession() as http:

        async def open_one(vitals: Vitals | None = None, **changes: Any) -> Door:
            server, url = await serve(domain, settings, vitals, **changes)
            servers.append(server)
            return Door(url, domain, http, service_key)

        yield open_one
    for server in servers:
        await server.close()
