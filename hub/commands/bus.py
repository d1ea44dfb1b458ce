"""`dongne emit`, `tail` and `drain`: what an operator says to the cluster and hears of it."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import orjson
import typer
from redis.exceptions import RedisError

from hub.cluster.emitter import Emitter, LogLimits, free_emit
from hub.cluster.line import Line
from hub.cluster.presence import Census
from hub.cluster.pulse import order_drain
from hub.cluster.tail import Passed, Tail
from hub.commands.tail_lines import Lines
from hub.domain.assembly import redis_server
from hub.plumbing.life.waiting import ended_before
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.redaction import Redactor
from protocol.names import Channels, Keys
from protocol.redis_wire import of_emit
from protocol.stock import Untellable

LOOK_EVERY: Final = 0.1
TELL_EVERY: Final = 2.0


class Refused(Exception):
    """Why a command did nothing, or not all; the text is for the operator."""


def run(settings: Settings, work: Coroutine[Any, Any, None]) -> int:
    """The exit code of a command: what goes wrong is one line on stderr."""
    try:
        asyncio.run(work)
    except (RedisError, Refused) as error:
        return _complain(settings, str(error), 1)
    except Untellable as error:
        return _complain(settings, f"{error.code}: {error}", 2)
    except ValueError as error:
        return _complain(settings, str(error), 2)
    return 0


def _complain(settings: Settings, text: str, code: int) -> int:
    _tell(Redactor(settings.secrets()).text(text))
    return code


def _tell(text: str) -> None:
    typer.echo(f"dongne: {text}", err=True)


@asynccontextmanager
async def _line(settings: Settings) -> AsyncIterator[Line]:
    line = Line(redis_server(settings), "dongne-command", replicas=settings.redis.wait)
    try:
        yield line
    finally:
        await line.close()


# --- emit ----------------------------------------------------------------------------------------


async def emit(
    settings: Settings,
    room: str,
    event: str,
    text: str,
    *,
    namespace: str | None,
    except_rooms: Sequence[str],
    volatile: bool,
    id: str | None,
) -> None:
    """Prints the id and the offset (`-` where there is none). Raises ValueError, RedisError."""
    data = _object(text)
    id = id or data.get("id") or str(uuid4())
    told = free_emit(event, data, (room,), tuple(except_rooms), namespace, volatile, id)
    part = settings.redis
    limits = LogLimits(part.recovery_window_s, part.recovery_events)
    async with _line(settings) as line:
        channels = Channels(part.adapter_key, part.slot)
        emitter = Emitter(line, Keys(part.prefix), channels, limits, classic_out=part.classic_out)
        [offset] = await emitter.broadcast([(told.id, of_emit(told, time.time()))])
    typer.echo(f"{told.id} {offset or '-'}")
    if not offset and told.klass != "volatile":
        _tell("this id was published before: nothing went out")


def _object(text: str) -> dict[str, Any]:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the data is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError("the data is not a JSON object")
    return data


# --- tail ----------------------------------------------------------------------------------------


async def tail(
    settings: Settings, *, room: str, namespace: str, requests: bool, as_json: bool
) -> None:
    """Prints until SIGINT, SIGTERM or the end of whoever reads. Raises RedisError."""
    lines = Lines(Redactor(settings.secrets()), room, as_json)
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)

    def passed(message: Passed) -> None:
        line = lines.of(message)
        if line is None or end.is_set():
            return
        try:
            typer.echo(line)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            end.set()

    channels = Channels(settings.redis.adapter_key, settings.redis.slot)
    heard = Tail(
        redis_server(settings),
        channels,
        passed,
        _tell,
        namespace=namespace,
        requests=requests,
        classic_out=settings.redis.classic_out,
    )
    listening = asyncio.create_task(heard.run(lambda: _tell("listening")))
    if await ended_before(listening, end):
        listening.result()
    listening.cancel()
    await asyncio.wait({listening})
    _tell(f"{heard.messages} messages, {heard.malformed} malformed")


# --- drain ---------------------------------------------------------------------------------------


async def list_nodes(settings: Settings) -> None:
    """One line a node: its name, and whether it listens (a dead one is known for a while yet)."""
    keys = Keys(settings.redis.prefix)
    async with _line(settings) as line:
        for node in await Census(line, keys).nodes():
            listeners = await line.listeners(keys.node(node))
            typer.echo(f"{node} {'listens' if listeners else 'silent'}")


async def drain(settings: Settings, node: str) -> None:
    """Ends a node as SIGTERM does and waits until it is gone. Raises Refused, RedisError."""
    keys = Keys(settings.redis.prefix)
    limit = settings.process.shutdown_timeout_ms / 1000
    async with _line(settings) as line:
        census = Census(line, keys)
        if node not in (living := await census.nodes()):
            raise Refused(f"no node {node}; living: {', '.join(living) or 'none'}")
        if not await order_drain(line, keys, node):
            raise Refused(f"{node} does not listen; if it died, its lease ends by itself")
        typer.echo(f"{node} drains")
        seconds = await _gone(census, node, limit)
    typer.echo(f"{node} is gone after {seconds:.1f} s")


async def _gone(census: Census, node: str, limit: float) -> float:
    """s until no lease of the node is left."""
    begin = told = time.monotonic()
    while node in await census.nodes():
        now = time.monotonic()
        if now - begin > limit:
            raise Refused(f"{node} is not gone after {limit:.0f} s (SHUTDOWN_TIMEOUT)")
        if now - told >= TELL_EVERY:
            told = now
            typer.echo(f"{node} drains for {now - begin:.0f} s")
        await asyncio.sleep(LOOK_EVERY)
    return time.monotonic() - begin
