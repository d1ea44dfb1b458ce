"""The engine as the bench measures it: gate, JWT check and metrics around join, pub and echo.

    python -m tests.benchmarks.app --port P [--no-gate] [--access-token] [--redis URL]

With ``--access-token`` clients bring the hub's own tokens instead of short ones. With ``--redis``
the limiter asks Redis (the checks of one loop round in one call) and the connect handler looks
the token up there. Limits are counted and set out of reach.
"""

from __future__ import annotations

import argparse
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

from hub.engine import Event, Member, Options, Server
from hub.engine.process import freeze_start, watch_lag
from hub.plumbing.limits import Limits, Verdict, Window
from hub.plumbing.local_limits import LocalWindows
from hub.plumbing.metrics import REGISTRY
from hub.plumbing.telemetry import AccessLog
from hub.sockets.gate import Gate
from hub.sockets.node import Guest
from protocol.errors import HubError
from protocol.events import ClientEvent, Ok
from protocol.names import Keys
from protocol.payload import Message, Request, plain
from protocol.tokens import TokenKeys, read_access

SECRET = "a secret of the bench, thirty-two characters and more"
KEYS = TokenKeys((SECRET,), issuer="hub")
FAR = 1_000_000_000
WINDOW = Window("socket_default", FAR, 10_000)


class Join(Request):
    room: str


class Publish(Request):
    room: str
    seq: int
    ts: int
    title: str


class Echo(Request):
    seq: int
    ts: int


class Heard(Message):
    seq: int
    ts: int


def check_signature(token: Any) -> str:
    """PyJWT's HS256 check of a token that says who it is, and no more."""
    return str(jwt.decode(token, SECRET, algorithms=["HS256"])["sub"])


def check_access_token(token: Any) -> str:
    """The hub's own check of an access token: all claims, 240 characters."""
    return read_access(KEYS, token, now=datetime.now(UTC)).user_id


def bench_server(
    gated: bool, redis: Redis | None, check_token: Callable[[Any], str] = check_signature
) -> Server:
    """join, pub and echo, as the stock peers of the bench have them."""
    options = Options(
        conn_max_node=FAR, conn_max_ip=FAR, accept_rate=FAR, max_payload=1_000_000, ping_timeout=20
    )
    sio = Server(options)

    def connect(sid: str, environ: Any, auth: Any) -> None:
        member = sio.member(sid)
        assert member is not None
        try:
            user = check_token(auth.get("token") if isinstance(auth, dict) else None)
        except (HubError, InvalidTokenError):
            raise Refused("UNAUTHENTICATED", {"code": "UNAUTHENTICATED"}) from None
        member.data = Guest(user, "user", 0.0)

    async def connect_redis(sid: str, environ: Any, auth: Any) -> None:
        connect(sid, environ, auth)
        assert redis is not None
        member = sio.member(sid)
        if member is not None and await redis.exists(f"revoked:{member.data.user_id}"):
            raise Refused("revoked", {"code": "TOKEN_REVOKED"})

    sio.on("connect", connect if redis is None else connect_redis)
    (_through_the_gate if gated else _plainly)(sio, redis)
    return sio


def _through_the_gate(sio: Server, redis: Redis | None) -> None:
    """The hub's gate; limits are counted in this process, or by Redis as the hub does."""

    def join(member: Member, form: Join) -> Message:
        sio.enter(member, form.room)
        return Ok()

    def pub(member: Member, form: Publish) -> Message:
        sio.deliver(Event(["q", plain(form)]), [form.room])
        return Ok()

    def echo(member: Member, form: Echo) -> Message:
        return Heard(seq=form.seq, ts=form.ts)

    windows = LocalWindows()
    limits = Limits(redis, Keys()) if redis is not None else None

    def here(event: ClientEvent, user: str) -> Verdict:
        allowed, remaining, wait = windows.check(user, FAR, 10.0, 1, time.monotonic())
        return Verdict(allowed, FAR, remaining, wait)

    async def there(event: ClientEvent, user: str) -> Verdict:
        assert limits is not None
        return await limits.check(WINDOW, user)

    gate = Gate(sio, here if redis is None else there, AccessLog("off"))
    gate.add(ClientEvent("join", Join, Ok), join)
    gate.add(ClientEvent("pub", Publish, Ok), pub)
    gate.add(ClientEvent("echo", Echo, Heard), echo)


def _plainly(sio: Server, redis: Redis | None) -> None:
    def join(sid: str, data: dict[str, Any]) -> bool:
        sio.manager.basic_enter_room(sid, "/", data["room"])
        return True

    def pub(sid: str, data: dict[str, Any]) -> None:
        sio.deliver(Event(["q", data]), [data["room"]])

    def echo(sid: str, data: Any) -> Any:
        return data

    for handler in (join, pub, echo):
        sio.on(handler.__name__, handler)


async def serve(args: argparse.Namespace) -> None:
    check = check_access_token if args.access_token else check_signature
    redis = Redis.from_url(args.redis) if args.redis else None
    sio = bench_server(not args.no_gate, redis, check)
    engine = CollectorRegistry()
    engine.register(sio.collector())

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY) + generate_latest(engine))

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
