"""Lua scripts in Redis: the calls of one loop round, and those that came while the ones before were
under way, go out as one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoScriptError, RedisError

from hub.plumbing.stores.redis_client import AWAY

Argument = str | bytes | int | float
Call = tuple[str, tuple[Argument, ...]]

Ask = Callable[..., Awaitable[Any]]
"""Sends the words of one command to Redis and gives its reply; raises what `redis_client.AWAY`
names, or RedisError."""

AT_ONCE: Final = 100
"""No more keys than this in one call, so that Redis serves others in between."""


class Rounds:
    """A file of `hub/plumbing/limits/lua` that is asked about single keys. It is given all keys of
    a round and the arguments of each, always as many, and gives one answer for each."""

    def __init__(self, ask: Ask, file: str, answer_s: float) -> None:
        self._text = files("hub.plumbing.limits").joinpath("lua", file).read_text(encoding="utf-8")
        self._sha = sha1(self._text.encode(), usedforsecurity=False).hexdigest()
        self._ask = ask
        self._answer_s = answer_s
        self._waiting: list[tuple[Call, asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    def call(self, key: str, *arguments: Argument) -> "asyncio.Future[Any]":
        """The script's answer; it ends with what `redis_client.AWAY` names, or RedisError."""
        loop = asyncio.get_running_loop()
        if self._sending is None and not self._waiting:
            loop.call_soon(self._send_off)
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(((key, arguments), answer))
        return answer

    async def close(self) -> None:
        """End what was sent for callers who have gone: it would outlive the connections."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    def _send_off(self) -> None:
        self._sending = asyncio.create_task(self._send(), name="scripts")

    async def _send(self) -> None:
        """Until nobody waits. When Redis is away all hear of it who have waited meanwhile."""
        batch: list[tuple[Call, asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                answers: list[Any]
                try:
                    async with asyncio.timeout(self._answer_s):
                        answers = await self._run([call for call, _ in batch])
                except AWAY as error:
                    batch, self._waiting = batch + self._waiting, []
                    answers = [error] * len(batch)
                except RedisError as error:
                    answers = [error] * len(batch)
                for (_, waiter), answer in zip(batch, answers, strict=True):
                    _give(waiter, answer)
                batch = []
        finally:
            self._sending = None
            for _, waiter in batch + self._waiting:
                waiter.cancel()
            self._waiting = []

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        words: list[Argument] = ["EVALSHA", self._sha, len(calls)]
        words += [key for key, _ in calls]
        words += [word for _, arguments in calls for word in arguments]
        answers: list[Any]
        try:
            answers = await self._ask(*words)
        except NoScriptError:
            await self._ask("SCRIPT", "LOAD", self._text)
            answers = await self._ask(*words)
        return answers


def _give(waiter: asyncio.Future[Any], answer: Any) -> None:
    if waiter.done():  # its caller has gone
        return
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
