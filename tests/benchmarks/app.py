"""The engine as the bench measures it: gate, JWT check and metrics around join, pub and echo.

    python -m tests.benchmarks.app --port P [--no-gate] [--access-token] [--redis URL]

With ``--access-token`` clients bring the hub's own tokens instead of short ones. With ``--redis``
the limiter asks Redis (the checks of one loop round in one pipeline) and the connect handler looks
the token up there. Limits are counted and set out of reach.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import uvloop
from aiohttp import web
from jwt import InvalidTokenError
from prometheus_client import CollectorRegistry, generate_latest
from redis.asyncio import Redis
from socketio.exceptions import ConnectionRefusedError as Refused

from hub.engine import Event, Options, Server
from hub.engine.process import freeze_start, watch_lag
from protocol.errors import HubError
from protocol.tokens import TokenKeys, read_access

SECRET = "a secret of the bench, thirty-two characters and more"
KEYS = TokenKeys((SECRET,), issuer="hub")
WINDOW = 10.0
FAR = 1_000_000_000

Handler = Callable[..., Any]


class Gate:
    """Counts each event of a user in a sliding window of two halves, and refuses past the limit;
    acknowledges what went wrong. Users are the subjects of their tokens."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.events: dict[str, int] = {}
        self.refused = 0
        self._started = time.monotonic()
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def take(self, user: str) -> bool:
        elapsed = time.monotonic() - self._started
        if elapsed >= WINDOW:
            self._before, self._now = self._now, {}
            self._started += elapsed
            elapsed = 0.0
        count = self._now[user] = self._now.get(user, 0) + 1
        return count + self._before.get(user, 0) * (1.0 - elapsed / WINDOW) <= FAR

    def around(self, event: str, handler: Handler) -> Handler:
        def gated(sid: str, *args: Any) -> Any:
            user = self.users.get(sid)
            if user is None or len(args) != 1 or not isinstance(args[0], dict):
                return {"ok": False, "error": {"code": "INVALID_PAYLOAD"}}
            self.events[event] = self.events.get(event, 0) + 1
            if not self.take(user):
                self.refused += 1
                return {"ok": False, "error": {"code": "RATE_LIMITED"}}
            return handler(sid, args[0])

        return gated


class RedisLimiter:
    """The checks of one loop round travel in one pipeline."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url)
        self._waiting: list[tuple[str, asyncio.Future[bool]]] = []

    def take(self, user: str) -> asyncio.Future[bool]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((user, future))
        if len(self._waiting) == 1:
            loop.call_soon(lambda: loop.create_task(self._ask()))
        return future

    async def _ask(self) -> None:
        waiting, self._waiting = self._waiting, []
        pipe = self._redis.pipeline(transaction=False)
        for user, _ in waiting:
            pipe.incr(f"rl:bench:{user}")
        for (_, future), count in zip(waiting, await pipe.execute(), strict=True):
            future.set_result(count <= FAR)

    async def revoked(self, user: str) -> bool:
        return bool(await self._redis.exists(f"revoked:{user}"))

    def around(self, handler: Handler) -> Handler:
        async def limited(sid: str, data: Any) -> Any:
            if not await self.take(sid):
                return {"ok": False, "error": {"code": "RATE_LIMITED"}}
            return handler(sid, data)

        return limited


def check_signature(token: Any) -> str:
    """PyJWT's HS256 check of a token that says who it is, and no more."""
    return str(jwt.decode(token, SECRET, algorithms=["HS256"])["sub"])


def check_access_token(token: Any) -> str:
    """The hub's own check of an access token: all claims, 240 characters."""
    return read_access(KEYS, token, now=datetime.now(UTC)).user_id


def bench_server(
    gated: bool, redis: str | None, check_token: Callable[[Any], str] = check_signature
) -> Server:
    """join, pub and echo, as the stock peers of the bench have them."""
    options = Options(
        conn_max_node=FAR, conn_max_ip=FAR, accept_rate=FAR, max_payload=1_000_000, ping_timeout=20
    )
    sio = Server(options)
    gate = Gate()
    limiter = RedisLimiter(redis) if redis is not None else None

    def join(sid: str, data: dict[str, Any]) -> bool:
        sio.manager.basic_enter_room(sid, "/", data["room"])
        return True

    def pub(sid: str, data: dict[str, Any]) -> None:
        sio.deliver(Event(["q", data]), [data["room"]])

    def echo(sid: str, data: Any) -> Any:
        return data

    def check(sid: str, auth: Any) -> str:
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            gate.users[sid] = user = check_token(token)
        except (HubError, InvalidTokenError):
            raise Refused("UNAUTHENTICATED", {"code": "UNAUTHENTICATED"}) from None
        return user

    def connect(sid: str, environ: Any, auth: Any) -> None:
        check(sid, auth)

    async def connect_redis(sid: str, environ: Any, auth: Any) -> None:
        assert limiter is not None
        if await limiter.revoked(check(sid, auth)):
            raise Refused("revoked", {"code": "TOKEN_REVOKED"})

    def disconnect(sid: str, reason: str) -> None:
        gate.users.pop(sid, None)

    sio.on("connect", connect_redis if limiter is not None else connect)
    sio.on("disconnect", disconnect)
    for name, handler in (("join", join), ("pub", pub), ("echo", echo)):
        if limiter is not None and name == "echo":
            handler = limiter.around(handler)
        sio.on(name, gate.around(name, handler) if gated else handler)
    return sio


async def serve(args: argparse.Namespace) -> None:
    check = check_access_token if args.access_token else check_signature
    sio = bench_server(not args.no_gate, args.redis, check)
    registry = CollectorRegistry()
    registry.register(sio.collector())

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    await sio.listen("127.0.0.1", args.port, app)
    freeze_start()
    await watch_lag(sio.eio.counters)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--no-gate", action="store_true")
    parser.add_argument("--access-token", action="store_true")
    parser.add_argument("--redis")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
