"""Redis servers that answer and refuse, for real: each brought into its state and out of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from hub.cluster.link import Link
from hub.cluster.server import Server
from hub.plumbing.stores.redis_client import Refused
from tests.hub.plumbing.stores.redis_server import RedisServer

Commands = tuple[tuple[str, ...], ...]

NOBODY: Final = ("127.0.0.1", "1")
"""An address of a master that is not there."""

STATES: Final[dict[str, tuple[Commands, Commands]]] = {
    "OOM": ((("CONFIG", "SET", "maxmemory", "1mb"),), (("CONFIG", "SET", "maxmemory", "0"),)),
    "MISCONF": (
        (("CONFIG", "SET", "save", "3600 1"), ("SET", "unsaved", "1"), ("BGSAVE",)),
        (("CONFIG", "SET", "stop-writes-on-bgsave-error", "no"),),
    ),
    "READONLY": ((("REPLICAOF", *NOBODY),), (("REPLICAOF", "NO", "ONE"),)),
    "MASTERDOWN": (
        (("CONFIG", "SET", "replica-serve-stale-data", "no"), ("REPLICAOF", *NOBODY)),
        (("REPLICAOF", "NO", "ONE"),),
    ),
    "NOREPLICAS": (
        (("CONFIG", "SET", "min-replicas-to-write", "1"),),
        (("CONFIG", "SET", "min-replicas-to-write", "0"),),
    ),
    "NOPERM": (
        (("ACL", "SETUSER", "default", "-@all"),),
        (("ACL", "SETUSER", "default", "+@all"),),
    ),
}
"""By the word Redis refuses with: what brings a server there, and what brings it back. Before
MISCONF its folder must be one where nothing can be written.
"""

BOSS: Final = ("--user", "boss", "on", "nopass", "~*", "&*", "+@all")
"""Somebody who may still do everything while the default user may nothing."""

OPTIONS: Final = (*BOSS, "--dir", "/proc")


async def refusing_server(folder: Path) -> RedisServer:
    folder.mkdir(exist_ok=True)
    server = RedisServer(folder, *OPTIONS)
    await server.start()
    return server


async def tell(server: RedisServer, commands: Commands) -> None:
    link = await Server.of(f"redis://boss:-@127.0.0.1:{server.port}").open("boss")
    for command in commands:
        await link.command(*command)
    link.close()


async def refuse(server: RedisServer, word: str) -> None:
    """Returns when it refuses with this word; a replica without its master refuses reads so."""
    link = await Server.of(server.url).open("asks")
    await tell(server, STATES[word][0])
    command = ("GET", "tried") if word == "MASTERDOWN" else ("SET", "tried", "1")
    async with asyncio.timeout(10):
        while True:
            try:
                await link.command(*command)
            except Refused as refused:
                assert refused.word == word
                break
            await asyncio.sleep(0.01)
    link.close()


async def relent(server: RedisServer, word: str) -> None:
    await tell(server, STATES[word][1])


@asynccontextmanager
async def busy(server: RedisServer) -> AsyncIterator[None]:
    """A script of somebody's runs on and on: BUSY."""
    await tell(server, (("CONFIG", "SET", "busy-reply-threshold", "10"),))
    link = await Server.of(f"redis://boss:-@127.0.0.1:{server.port}").open("boss")
    other = await Server.of(f"redis://boss:-@127.0.0.1:{server.port}").open("boss")
    endless = link.command("EVAL", "while true do end", "0")
    try:
        async with asyncio.timeout(10):
            while not await _is_busy(other):
                await asyncio.sleep(0.01)
        yield
    finally:
        await other.command("SCRIPT", "KILL")
        await asyncio.gather(endless, return_exceptions=True)
        link.close()
        other.close()


async def _is_busy(link: Link) -> bool:
    try:
        await link.command("PING")
    except Refused as refused:
        return refused.word == "BUSY"
    return False
