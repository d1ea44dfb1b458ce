"""How long to wait: for one of two things, and before the next try."""

import asyncio
import random
from collections.abc import Awaitable
from typing import Any


async def ended_before(task: asyncio.Future[Any], event: asyncio.Event) -> bool:
    """Returns when a task has ended or an event is set; whether the task has ended.

    A task that has not goes on: whoever asked decides what becomes of it.
    """
    bell = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, bell}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        bell.cancel()
    return task.done()


async def came_before(wanted: Awaitable[Any], event: asyncio.Event) -> bool:
    """Returns when either has come; false when the event did first, and the other is given up."""
    task = asyncio.ensure_future(wanted)
    try:
        return await ended_before(task, event)
    finally:
        task.cancel()


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Returns when an event is set, or after so many seconds; whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def asked_to_end() -> bool:
    """Whether this task itself is cancelled, and not something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def backoff_s(
    failures: int, first_s: float, longest_s: float, *, factor: float = 2.0, spread: float = 0.5
) -> float:
    """Seconds to wait after so many failures in a row, of which the first is number 1: `first_s`,
    each time `factor` as long, `longest_s` at most.

    The last `spread` of it is left to chance, and only ever shortens: many who failed together do
    not come back together, and no wait is longer than was said.
    """
    grown = first_s * factor ** min(failures - 1, 64)  # without a bound it would overflow
    return min(grown, longest_s) * random.uniform(1 - spread, 1)  # noqa: S311 - no secret
