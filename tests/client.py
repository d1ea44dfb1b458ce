"""The language of the tests: people on sockets, services on REST, both through stock clients."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp
import socketio

PATIENCE = 10.0
"""s a test waits for what must come."""

QUIET = 0.3
"""s without an event that count as nothing."""


class Person:
    """One stock python-socketio client; every event it hears is kept until it is expected."""

    def __init__(self, url: str, token: str, **auth: Any) -> None:
        self.url = url
        self.auth: dict[str, Any] = {"token": token, "recovery": False, **auth}
        self.heard: deque[tuple[str, dict[str, Any], float]] = deque()
        self.lost: list[Any] = []
        self._news = asyncio.Event()
        self.sio = socketio.AsyncClient(reconnection=False)
        self.sio.on("*", self._hear)
        self.sio.on("disconnect", self.lost.append)

    async def _hear(self, event: str, *args: Any) -> None:
        self.heard.append((event, args[0] if args else {}, monotonic()))
        self._news.set()

    async def connect(self) -> dict[str, Any]:
        """Connect by WebSocket and return `ready`."""
        await self.sio.connect(self.url, auth=self.auth, transports=["websocket"])
        return await self.expect("ready")

    async def expect(self, event: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The data of the next such event; others are kept."""
        data, _ = await self.expect_at(event, timeout)
        return data

    async def expect_at(
        self, event: str, timeout: float = PATIENCE
    ) -> tuple[dict[str, Any], float]:
        """The same with the monotonic time at which it was heard."""
        async with asyncio.timeout(timeout):
            while True:
                for item in self.heard:
                    if item[0] == event:
                        self.heard.remove(item)
                        return item[1], item[2]
                self._news.clear()
                await self._news.wait()

    async def expect_nothing(self, *events: str) -> None:
        """Nothing of these comes; an answered round trip stands before the short wait."""
        await self.call("inbox:sync", {"limit": 1})
        await asyncio.sleep(QUIET)
        unwanted = [item for item in self.heard if item[0] in events]
        assert not unwanted, unwanted

    async def call(self, event: str, data: Any = None) -> dict[str, Any]:
        answer = await self.sio.call(event, data, timeout=PATIENCE)
        assert isinstance(answer, dict), answer
        return answer

    async def close(self) -> None:
        await self.sio.disconnect()


class Refused(Exception):
    """A REST answer that is an error: `status`, `code`."""

    def __init__(self, status: int, body: Any, headers: Any) -> None:
        self.status = status
        self.code = body["error"]["code"] if isinstance(body, dict) else None
        self.body = body
        self.headers = headers
        super().__init__(f"{status} {body}")


class Rest:
    """The public API as one caller uses it; `bearer` is a token or a service key."""

    def __init__(self, http: aiohttp.ClientSession, url: str, bearer: str) -> None:
        self._http = http
        self.url = url
        self.bearer = bearer

    def as_(self, bearer: str) -> "Rest":
        return Rest(self._http, self.url, bearer)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The decoded answer; raises Refused for an error."""
        sent = {"Authorization": f"Bearer {self.bearer}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = self._http.request(
            method, f"{self.url}/api/v1{path}", json=body, headers=sent, allow_redirects=False
        )
        async with request as response:
            answer = await response.json() if response.content_length != 0 else None
            if response.status >= 400:
                raise Refused(response.status, answer, response.headers)
            return answer

    async def person(self, user_id: str, role: str = "user") -> "Rest":
        """That person's own calls, with a token from POST /auth/sessions."""
        pair = await self.call("POST", "/auth/sessions", {"userId": user_id, "role": role})
        return self.as_(pair["accessToken"])

    async def local(self, user_id: str, lat: float, lng: float, **fields: Any) -> "Rest":
        """A verified local at a place, with an address and consent; their own calls."""
        now = "2026-01-01T00:00:00Z"
        payload = {
            "userId": user_id,
            "nickname": user_id,
            "email": f"{user_id}@example.org",
            "isLocalVerified": True,
            "locationConsentAt": now,
            **fields,
        }
        await self.event("user.updated", payload)
        person = await self.person(user_id)
        await person.call("POST", "/locations", {"lat": lat, "lng": lng, "accuracyM": 10})
        return person

    async def event(self, event_type: str, payload: dict[str, Any], event_id: str = "") -> Any:
        envelope = {
            "eventId": event_id or str(uuid4()),
            "eventType": event_type,
            "occurredAt": "2026-01-01T00:00:00Z",
            "payload": payload,
        }
        return await self.call("POST", "/events", envelope)


@asynccontextmanager
async def rest(url: str, bearer: str) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as http:
        yield Rest(http, url, bearer)
