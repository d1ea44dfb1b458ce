"""The commands of one process to Redis: one lasting connection, pipelined, in order."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from hub.cluster import scripts
from hub.cluster.link import Link
from hub.cluster.scripts import Script
from hub.cluster.server import Server
from hub.plumbing.life.waiting import backoff_s
from hub.plumbing.stores.redis_client import DEMOTED, Refused

BACKOFF_FIRST: Final = 0.1
BACKOFF_LAST: Final = 2.0

WAIT_MS: Final = 500
"""How long replicas are waited for (REDIS_WAIT); what they have not by then, the outbox keeps."""

Argument = str | bytes | int | float
Command = tuple[Argument, ...]


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: short enough that a node listens again
    within 5 s of Redis's return."""
    return backoff_s(failures + 1, BACKOFF_FIRST, BACKOFF_LAST)


class Line:
    """Opens when it is first used and again after every loss. While Redis is away, calls fail at
    once between two tries. Every method raises `redis.exceptions.RedisError`; a call that fails
    may still have been carried out.

    `tell` is the command that publishes on our own channels: on a cluster they are of our slot.
    `replicas` must have what is published before it counts as made (REDIS_WAIT); as Redis answers
    nothing else meanwhile, such a line is used for nothing else.
    """

    def __init__(self, server: Server, name: str = "dongne-line", *, replicas: int = 0):
        self.server = server
        self.replicas = replicas
        self._name = name
        self.tell = "PUBLISH" if server.slot is None else "SPUBLISH"
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._closed = False

    async def call(self, *args: Argument) -> Any:
        return await (await self.link()).command(*args)

    def post(self, *args: Argument) -> bool:
        """Sends a command whose reply nobody waits for. False while there is no connection."""
        if self._link is None or not self._link.is_open:
            return False
        self._link.command(*args).add_done_callback(_read_error)
        return True

    async def calls(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in one write; raises the first error after all have ended."""
        link = await self.link()
        return await settled([link.command(*command) for command in commands])

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """A server that is no master any more has done nothing: its successor is asked at once,
        or whoever listens there already would be told that Redis is away.
        """
        try:
            return await self._run(script, keys, args)
        except Refused as refused:
            if refused.word not in DEMOTED:
                raise
        return await self._run(script, keys, args)

    async def _run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        link = await self.link()
        try:
            return await link.command("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await link.command("EVAL", script.source, len(keys), *keys, *args)

    def kept(self, link: Link, key: str) -> "asyncio.Future[None]":
        """Ends when `replicas` have what was written before; with Refused when they have not in
        WAIT_MS. WAIT speaks of what its own connection wrote: who tries again may find all of it
        written by another one, so a field of the hash `key` is written first.
        """
        link.command("HSET", key, "waited", 1).add_done_callback(_read_error)
        return asyncio.ensure_future(self._kept(link.command("WAIT", self.replicas, WAIT_MS)))

    async def _kept(self, counted: "asyncio.Future[Any]") -> None:
        found = await counted
        if found < self.replicas:
            raise Refused("NOREPLICAS", f"{found} of {self.replicas} replicas have it")

    async def listeners(self, channel: str) -> int:
        """To one of our own channels (`tell`)."""
        counted = "NUMSUB" if self.server.slot is None else "SHARDNUMSUB"
        return int((await self.call("PUBSUB", counted, channel))[1])

    async def link(self) -> Link:
        """The open connection with every script loaded."""
        if self._link is not None and self._link.is_open:
            return self._link
        async with self._opening:
            if self._link is None or not self._link.is_open:
                self._link = await self._open()
        return self._link

    async def load_scripts(self) -> None:
        """After somebody's SCRIPT FLUSH."""
        await _load_scripts(await self.link())

    async def _open(self) -> Link:
        now = asyncio.get_running_loop().time()
        if self._closed:
            raise RedisConnectionError("this line was closed")
        if now < self._not_before:
            raise RedisConnectionError("Redis was away a moment ago")
        try:
            link = await self._opened()
        except RedisError:
            self._not_before = asyncio.get_running_loop().time() + backoff(self._failures)
            self._failures += 1
            raise
        self._failures = 0
        return link

    async def _opened(self) -> Link:
        link = await self.server.open(self._name)
        try:
            await _load_scripts(link)
            if self._closed:
                raise RedisConnectionError("closed meanwhile")
        except BaseException:
            link.close()
            raise
        return link

    async def close(self) -> None:
        """For good: later calls fail."""
        self._closed = True
        if self._link is not None:
            self._link.close()
            self._link = None


def _read_error(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


async def _load_scripts(link: Link) -> None:
    await settled([link.command("SCRIPT", "LOAD", script.source) for script in scripts.ALL])


async def settled(futures: Sequence["asyncio.Future[Any]"]) -> list[Any]:
    """All results in order; raises the first error once every future has ended."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
