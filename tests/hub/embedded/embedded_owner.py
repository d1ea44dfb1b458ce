"""Owns a PostgreSQL and a Valkey until its standard input ends: what the tests kill.

python -m tests.hub.plumbing.embedded_owner DIRECTORY
"""

import asyncio
import json
import sys
from pathlib import Path

from hub.embedded import Postgres, Valkey


async def main(directory: Path) -> None:
    servers = Postgres(directory / "postgres"), Valkey(directory / "valkey", password="p w/\"'")
    for server in servers:
        await server.start()
    print(json.dumps([[server.url, server.pid] for server in servers]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
