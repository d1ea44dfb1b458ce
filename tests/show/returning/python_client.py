"""The stock Python client: URL TRANSPORTS TOKEN…; prints "ready" whenever it is (again)."""

import asyncio
import sys
from typing import Any

import socketio


async def main(url: str, transports: str, *tokens: str) -> None:
    client = socketio.AsyncClient()
    readies = 0

    def auth() -> dict[str, Any]:
        return {"token": tokens[min(readies, len(tokens) - 1)], "recovery": False}

    def ready(_data: Any) -> None:
        nonlocal readies
        readies += 1
        print("ready", flush=True)

    client.on("ready", ready)
    client.on("server:shutdown", lambda _data: print("told", flush=True))
    client.on("disconnect", lambda reason: print("disconnect", reason, file=sys.stderr, flush=True))
    await client.connect(url, auth=auth, transports=transports.split(","))
    while True:  # `wait` returns where the transport is lost
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
