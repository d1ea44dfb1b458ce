"""The engine alone, as the bench measures it beside its peers: join, pub and echo on it, with a
token check and metrics. The hub is measured as it is shipped (shipped.py).

    python -m tests.benchmarks.app --port P
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from socketio.exceptions import ConnectionRefusedError as Refused

from hub.engine import Event, Options, Server, freeze_start, watch_lag
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.errors import HubError
from protocol.tokens import TokenKeys, read_access

KEYS = TokenKeys(("a secret of the bench, thirty-two characters and more",), issuer="hub")
FAR = 1_000_000_000


def bench_server() -> Server:
    """join, pub and echo, as the stock peers of the bench have them; limits are out of reach."""
    options = Options(
        conn_max_node=FAR, conn_max_ip=FAR, accept_rate=FAR, max_payload=1_000_000, ping_timeout=20
    )
    sio = Server(options)

    def connect(sid: str, environ: Any, auth: Any) -> None:
        """All claims of the hub's own token, where the peers check a signature and no more."""
        try:
            read_access(KEYS, auth.get("token"), now=datetime.now(UTC))
        except HubError as error:
            raise Refused(error.code, {"code": error.code}) from None

    def join(sid: str, data: dict[str, Any]) -> bool:
        sio.manager.basic_enter_room(sid, "/", data["room"])
        return True

    def pub(sid: str, data: dict[str, Any]) -> None:
        sio.deliver(Event(["q", data]), [data["room"]])

    def echo(sid: str, data: Any) -> Any:
        return data

    for handler in (connect, join, pub, echo):
        sio.on(handler.__name__, handler)
    return sio


async def serve(port: int) -> None:
    sio = bench_server()
    engine = CollectorRegistry()
    engine.register(sio.collector())

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY) + generate_latest(engine))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    await sio.listen("127.0.0.1", port, app)
    freeze_start()
    await watch_lag(sio.book.counters)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
