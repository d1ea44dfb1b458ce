"""The language of the tests: people on sockets, services on REST, both through stock clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
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


def anything(_: Any) -> bool:
    return True


class Ears:
    """A stock python-socketio client; what it hears is kept in order, its end as `(disconnect)`.

    `how` are settings of the client; without them it does not come back by itself.
    """

    def __init__(self, **how: Any) -> None:
        self.sio = socketio.AsyncClient(**how or {"reconnection": False})
        self.heard: list[tuple[str, list[Any]]] = []
        self.times: list[float] = []
        self.refusal: Any = None
        self._changed = asyncio.Condition()
        self.sio.on("*", self._hear)
        self.sio.on("connect_error", self._refused)
        self.sio.on("disconnect", self._gone)

    async def _hear(self, event: str, *args: Any) -> None:
        async with self._changed:
            self.heard.append((event, list(args)))
            self.times.append(monotonic())
            self._changed.notify_all()

    async def _refused(self, data: Any) -> None:
        self.refusal = data

    async def _gone(self, *reason: Any) -> None:
        await self._hear("(disconnect)", *reason)

    async def join(self, url: str, auth: Any, transport: str = "websocket") -> None:
        await self.sio.connect(url, auth=auth, transports=[transport], wait_timeout=PATIENCE)

    async def next(self, event: str, match: Callable[[Any], bool] = anything) -> Any:
        """The first of these events, heard already or awaited."""
        return (await self.some(event, 1, match))[0]

    async def some(
        self, event: str, count: int, match: Callable[[Any], bool] = anything
    ) -> list[Any]:
        """The first `count` of these events."""

        def found() -> list[Any]:
            told = [args[0] if args else None for name, args in self.heard if name == event]
            return [data for data in told if match(data)]

        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= count)
        return found()[:count]

    def names(self) -> list[str]:
        return [name for name, _ in self.heard]

    async def call(self, event: str, data: Any = None) -> Any:
        return await self.sio.call(event, data, timeout=PATIENCE)

    async def close(self) -> None:
        await self.sio.shutdown()  # coming back ends, too
        await self.sio.disconnect()


class Person(Ears):
    """Somebody connected; every event is kept until it is expected, once."""

    def __init__(self, url: str, token: str, **auth: Any) -> None:
        super().__init__()
        self.url = url
        self.auth: dict[str, Any] = {"token": token, "recovery": False, **auth}
        self._taken: set[int] = set()

    async def connect(self) -> dict[str, Any]:
        """Connect by WebSocket and return `ready`."""
        await self.join(self.url, self.auth)
        return await self.expect("ready")

    async def expect(self, event: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The data of the next such event; others are kept."""
        data, _ = await self.expect_at(event, timeout)
        return data

    async def expect_at(
        self, event: str, timeout: float = PATIENCE
    ) -> tuple[dict[str, Any], float]:
        """The same with the monotonic time at which it was heard."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: bool(self._untaken(event)))
        place = self._untaken(event)[0]
        self._taken.add(place)
        args = self.heard[place][1]
        return args[0] if args else {}, self.times[place]

    def _untaken(self, *events: str) -> list[int]:
        places = (place for place, name in enumerate(self.names()) if name in events)
        return [place for place in places if place not in self._taken]

    async def expect_nothing(self, *events: str) -> None:
        """Nothing of these comes; an answered round trip stands before the short wait."""
        await self.call("inbox:sync", {"limit": 1})
        await asyncio.sleep(QUIET)
        unwanted = [self.heard[place] for place in self._untaken(*events)]
        assert not unwanted, unwanted

    async def call(self, event: str, data: Any = None) -> dict[str, Any]:
        answer = await super().call(event, data)
        assert isinstance(answer, dict), answer
        return answer


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
            empty = response.status == 204 or response.content_length == 0
            answer = None if empty else await response.json()
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
