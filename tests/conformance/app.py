"""The app that the official protocol suites talk to (docs/engine.io-protocol/v4-test-suite and
docs/socket.io-protocol/v5-test-suite of the socket.io monorepo), both end points on one port.

    python -m tests.conformance.app --port P --ping-interval MS --ping-timeout MS
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from hub.engine import Options, Server
from hub.engine.session.book import Book
from hub.engine.session.engine import Engine
from hub.engine.session.link import Link
from hub.engine.wire.frames import BINARY


class Echo:
    """A session of the Engine.IO end point: each message comes back as it is."""

    def __init__(self, link: Link) -> None:
        self._link = link
        link.met_deadline()  # plain Engine.IO knows no CONNECT

    def text(self, payload: bytes) -> None:
        self._link.send_text(payload)

    def binary(self, payload: bytes) -> None:
        self._link.send_parts(((BINARY, payload),))

    def sort(self) -> None: ...

    def moved(self, link: Link) -> None:
        self._link = link

    def closed(self, reason: str) -> None:
        self._link.forget()


def suite_server(options: Options) -> tuple[Server, Engine]:
    """The Socket.IO server with the suites' handlers, and the Engine.IO echo."""
    sio = Server(options, namespaces=["/", "/custom"])

    async def connect(sid: str, environ: Any, auth: Any, namespace: str) -> None:
        # held back until the CONNECT reply is written
        await sio.emit("auth", auth if auth is not None else {}, to=sid, namespace=namespace)

    async def connect_main(sid: str, environ: Any, auth: Any) -> None:
        await connect(sid, environ, auth, "/")

    async def connect_custom(sid: str, environ: Any, auth: Any) -> None:
        await connect(sid, environ, auth, "/custom")

    async def message(sid: str, *args: Any) -> None:
        await sio.emit("message-back", args, to=sid)

    def message_with_ack(sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    sio.on("connect", connect_main)
    sio.on("connect", connect_custom, namespace="/custom")
    sio.on("message", message)
    sio.on("message-with-ack", message_with_ack)
    return sio, Engine(book=Book(options), hear=Echo)


async def serve(port: int, ping_interval: float, ping_timeout: float) -> None:
    options = Options(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        connect_timeout=1.0,
        max_payload=1_000_000,
        cors_origins="*",
    )
    sio, engine = suite_server(options)
    bound = await sio.listen("127.0.0.1", port, engines={"/engine.io/": engine})
    print(f"listening on {bound}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ping-interval", type=float, default=25_000, help="ms")
    parser.add_argument("--ping-timeout", type=float, default=20_000, help="ms")
    args = parser.parse_args()
    import uvloop

    uvloop.run(serve(args.port, args.ping_interval / 1000, args.ping_timeout / 1000))


if __name__ == "__main__":
    main()
