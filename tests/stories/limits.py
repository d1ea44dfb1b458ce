"""Limits as callers meet them: one person on three sockets of two nodes, and every route of the
table asked at two apis in turn."""

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from api.route import Route
from api.routes import ROUTES
from protocol.rest.operation import PREFIX
from protocol.tokens import sign_access
from tests.client import Person, Refused
from tests.stories.fleet import Fleet
from tests.stories.processes import Door

SERVICE_CALLS: Final = 20
"""calls_per_min of the service that is counted."""


@dataclass
class Counted:
    """`allowed` of `sent`, in `seconds`."""

    what: str
    expected: int
    allowed: int = 0
    sent: int = 0
    seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)

    @property
    def exact(self) -> bool:
        return self.allowed == self.expected and self.sent > self.expected

    def __str__(self) -> str:
        return f"{self.what} {self.allowed}/{self.sent} (limit {self.expected})"


async def events(
    fleet: Fleet, window_s: float, most: int, chat_most: int, bursts: int = 2
) -> list[Counted]:
    """Three sockets a namespace, two on the first node: events sent at once over all of them, and
    again when the window has passed."""
    first, second = fleet.hubs
    found: list[Counted] = []
    rows = (("/", "inbox:sync", most), ("/chat", "chat:send-message", chat_most))
    for namespace, event, limit in rows:
        bearer = token(fleet, f"talker{len(found)}")
        sockets = [in_namespace(hub, bearer, namespace) for hub in (first, first, second)]
        for socket in sockets:
            await socket.connect()
        if namespace == "/chat":
            for socket in sockets:
                assert (await socket.call("chat:join-room", {"roomId": "r"}))["ok"]
        for again in range(bursts):
            if again:
                await asyncio.sleep(window_s + 0.2)
            found.append(await _burst(sockets, event, limit, limit + limit // 3, again))
        for socket in sockets:
            await socket.close()
    return found


class _InNamespace(Person):
    """A person on another namespace than /."""

    namespace = "/"

    async def connect(self) -> dict[str, Any]:
        self.sio.on("*", self._hear, namespace=self.namespace)
        await self.sio.connect(
            self.url, auth=self.auth, transports=["websocket"], namespaces=[self.namespace]
        )
        return {}

    async def call(self, event: str, data: Any = None) -> dict[str, Any]:
        answer = await self.sio.call(event, data, namespace=self.namespace, timeout=10)
        assert isinstance(answer, dict)
        return answer


def in_namespace(hub: Door, bearer: str, namespace: str) -> Person:
    person = _InNamespace(hub.url, bearer)
    person.namespace = namespace
    return person


async def _burst(
    sockets: list[Person], event: str, expected: int, count: int, again: int
) -> Counted:
    seen = Counted(f"{event}{' again' if again else ''}", expected, sent=count)
    start = time.monotonic()

    async def one(n: int) -> None:
        data = (
            {"roomId": "r", "content": "hi", "clientMessageId": str(uuid4())}
            if event.startswith("chat")
            else {"limit": 1}
        )
        answer = await sockets[n % len(sockets)].call(event, data)
        seen.allowed += bool(answer["ok"])
        if not answer["ok"]:
            seen.codes[answer["error"]["code"]] += 1

    await asyncio.gather(*(one(n) for n in range(count)))
    seen.seconds = time.monotonic() - start
    assert set(seen.codes) <= {"RATE_LIMITED"}, seen.codes
    return seen


def token(fleet: Fleet, user_id: str, role: Any = "user") -> str:
    now = fleet.domain.now()
    return sign_access(fleet.domain.tokens, user_id, role, now=now, ttl_s=900, jti=str(uuid4()))


async def routes(fleet: Fleet) -> list[Counted]:
    """Every route of the table with a caller of its own; anonymous ones share an address, and what
    is signed by a link is free."""
    found = []
    for n, route in enumerate(ROUTES):
        limit = _limit(route)
        if limit is not None:
            found.append(await _asked(fleet, route, limit, f"caller{n}"))
    found.append(await _anonymous(fleet))
    return found


def _limit(route: Route) -> int | None:
    """Of one caller; None: what has another rule (links, anonymous, services, refreshing)."""
    if route.rate.word.startswith(("none", "anonymous", "service")) or route.auth.proof:
        return None
    return route.rate.per_minute or 10


async def _asked(fleet: Fleet, route: Route, limit: int, who: str) -> Counted:
    seen = Counted(f"{route.method} {route.path.removeprefix(PREFIX)}", limit, sent=limit + 5)
    path = re.sub(r"\{\w+\}", "x", route.path.removeprefix(PREFIX))
    body: dict[str, Any] | None = None if route.method in ("GET", "DELETE") else {}
    if route.rate.by:
        body = {route.rate.by: who}
    role = "admin" if route.auth.kind == "admin" else "user"
    for n in range(seen.sent):
        caller = fleet.services[n % 2]
        if route.auth.kind != "service":  # a token for each call: logging out ends it
            caller = caller.as_(token(fleet, who, role))
        seen.allowed += await _taken(caller, route.method, path, body)
    return seen


async def _anonymous(fleet: Fleet) -> Counted:
    """100 in 15 minutes of one address, over routes and apis."""
    seen = Counted("anonymous", 100, sent=110)
    nobody = [_Nobody(one) for one in fleet.services]
    for n in range(seen.sent):
        path = ("/regions", "/neighbourhoods", "/push/web-key")[n % 3]
        seen.allowed += await _taken(nobody[n % 2], "GET", path, None)
    return seen


class _Nobody:
    """A caller without a name."""

    def __init__(self, rest: Any) -> None:
        self._rest = rest

    async def call(self, method: str, path: str, _: Any = None) -> None:
        async with self._rest._http.request(method, f"{self._rest.url}{PREFIX}{path}") as answer:
            if answer.status == 429:
                raise Refused(429, await answer.json(), answer.headers)


async def _taken(caller: Any, method: str, path: str, body: Any) -> bool:
    """Whether it was not refused for its number; what else is wrong with it is not asked here."""
    try:
        await caller.call(method, path, body)
    except Refused as refused:
        if refused.status == 429:
            assert refused.code == "RATE_LIMITED"
            assert int(refused.headers["Retry-After"]) > 0
        return refused.status != 429
    return True


async def services(fleet: Fleet) -> list[Counted]:
    """Calls of one key at both apis."""
    await fleet.domain.pool.execute(
        "UPDATE service_clients SET calls_per_min = $1 WHERE id = 'story'", SERVICE_CALLS
    )
    calls = Counted("service calls", SERVICE_CALLS, sent=SERVICE_CALLS + 10)
    for n in range(calls.sent):
        path = ("/rooms/stream:x/presence", "/rooms/stream:y/presence")[n % 2]
        calls.allowed += await _taken(fleet.services[n % 2], "GET", path, None)
    return [calls]
