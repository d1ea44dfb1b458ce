"""Lua scripts in Redis: calls of one loop round go out together, in one pipeline."""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Argument = str | bytes | int | float
Call = tuple["Script", str, tuple[Argument, ...]]


class Script:
    """A file of `hub/plumbing/lua`, with the name Redis gives it."""

    def __init__(self, file: str) -> None:
        self.text = files("hub.plumbing").joinpath("lua", file).read_text(encoding="utf-8")
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Rounds:
    """Gathers calls until the loop comes round, then sends them in one pipeline."""

    def __init__(self, redis: Redis, answer_s: float) -> None:
        self._redis = redis
        self._answer_s = answer_s
        self._waiting: list[tuple[Call, asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def call(self, script: Script, key: str, *arguments: Argument) -> Any:
        """The script's answer. Raises what `redis_client.AWAY` names, or RedisError."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send_off)
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(((script, key, arguments), answer))
        return await answer

    def _send_off(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.create_task(self._send(batch), name="scripts")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _send(self, batch: list[tuple[Call, asyncio.Future[Any]]]) -> None:
        try:
            async with asyncio.timeout(self._answer_s):
                answers = await self._run([call for call, _ in batch])
        except BaseException as error:
            answers = [error] * len(batch)
            if not isinstance(error, Exception):
                raise
        finally:
            for (_, waiter), answer in zip(batch, answers, strict=True):
                _give(waiter, answer)

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        answers = await self._pipeline(calls)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            for text in {calls[i][0].text for i in unknown}:
                await self._redis.script_load(text)
            again = await self._pipeline([calls[i] for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        return answers

    async def _pipeline(self, calls: Sequence[Call]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for script, key, arguments in calls:
                pipe.evalsha(script.sha, 1, key, *arguments)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers


def _give(waiter: asyncio.Future[Any], answer: Any) -> None:
    if waiter.done():  # its caller has gone
        return
    if isinstance(answer, asyncio.CancelledError):
        waiter.cancel()
    elif isinstance(answer, BaseException):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
