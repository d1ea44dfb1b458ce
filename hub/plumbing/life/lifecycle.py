"""The life of a process: start in order, stop in reverse, both in one place.

`main` starts everything and returns; each thing it starts says at once how it is stopped. Then the
process lives until SIGTERM, SIGINT or the failure of a background task, and the steps run
backwards within SHUTDOWN_TIMEOUT (C10: what was started last, the doors, goes first; stores go
last). Exit code 0 after a signal, 1 when anything failed or the time was not enough.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import FrameType
from typing import Any, TypeVar

import structlog
import uvloop

from hub.plumbing.life.waiting import asked_to_end, ended_before
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.logs import configure
from hub.plumbing.telemetry.metrics import BACKGROUND_FAILURES

log = structlog.get_logger(__name__)

T = TypeVar("T")
Stop = Callable[[], Awaitable[object]]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

GRACE_S = 1.0
"""After the time is up: what the watchdog leaves for the last log lines."""


CANCEL_AGAIN_S = 1.0
"""A task that cleans up for longer is disturbed in that."""


class Lifecycle:
    """What runs in this process and how it ends.

    `stopping` is set at the first reason to stop, `ready` says whether the doors may be asked:
    true after `main` returned, false as soon as the process stops.
    """

    def __init__(self, on_stopping: Callable[[], None] = lambda: None) -> None:
        self._on_stopping = on_stopping
        self.stopping = asyncio.Event()
        self.ready = False
        self.failed = False
        self._steps: list[tuple[str, Stop]] = []

    def on_stop(self, name: str, stop: Stop) -> None:
        """Run `stop` when the process ends, before what was registered earlier."""
        self._steps.append((name, stop))

    async def enter(self, name: str, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context that is left when the process ends."""
        value = await manager.__aenter__()
        self.on_stop(name, lambda: manager.__aexit__(None, None, None))
        return value

    def spawn(self, name: str, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Run `work` beside everything else; its failure ends the process with exit code 1.

        When its turn in the stop comes it is cancelled and awaited. It may end by itself.
        """
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self.on_stop(name, lambda: _cancelled(task))
        return task

    def _ended(self, task: asyncio.Task[object]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            BACKGROUND_FAILURES.labels(task=task.get_name()).inc()
            log.error("a background task failed", task=task.get_name(), exc_info=error)
            self.fail()

    def fail(self) -> None:
        """End the process with exit code 1."""
        self.failed = True
        self.stop()

    def stop(self) -> None:
        """Begin the end; asking again changes nothing."""
        self._on_stopping()
        self.ready = False
        self.stopping.set()

    async def close(self) -> None:
        """Run the steps backwards; one that fails is logged and the others still run."""
        while self._steps:
            name, stop = self._steps[-1]
            try:
                await stop()
            except Exception:
                self.failed = True
                log.exception("a part did not stop cleanly", part=name)
            except asyncio.CancelledError:
                if asked_to_end():
                    raise
                log.debug("a part was cancelled while it stopped", part=name)
            self._steps.remove((name, stop))

    @property
    def waiting(self) -> list[str]:
        """Names of the parts that are not stopped yet, in the order of their stop."""
        return [name for name, _ in reversed(self._steps)]


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Again where the first time was taken for something else: libraries take one for the end of a
    time-out of their own that is over in the same moment (redis-py asks its sockets with 0 s)."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


class _Watchdog:
    """Ends the process with exit code 1 when not even the loop comes back in time."""

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._armed = False

    def arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._timer.start()

    def disarm(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        log.error("the process did not stop in time and is ended")
        os._exit(1)


def run(main: Callable[[Lifecycle], Awaitable[None]], settings: Settings) -> int:
    """Live until a signal or a failure; the exit code. Call it once, in the main thread."""
    configure(settings)
    timeout_s = settings.process.shutdown_timeout_ms / 1000
    watchdog = _Watchdog(timeout_s + GRACE_S)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_live(main, timeout_s, watchdog))
    finally:
        watchdog.disarm()
        for number in _SIGNALS:
            # the interpreter takes handlers away before it ends, but leaves what is ignored
            signal.signal(number, signal.SIG_IGN)


async def _live(
    main: Callable[[Lifecycle], Awaitable[None]], timeout_s: float, watchdog: _Watchdog
) -> int:
    life = Lifecycle(on_stopping=watchdog.arm)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_uncaught)
    _obey_signals(life, loop, watchdog)
    await _start(life, main)
    await life.stopping.wait()
    await _stop(life, timeout_s)
    return 1 if life.failed else 0


async def _start(life: Lifecycle, main: Callable[[Lifecycle], Awaitable[None]]) -> None:
    """Run `main`; a signal before its end cancels it, and what it has started is stopped again."""

    async def begin() -> None:
        await main(life)

    starting = asyncio.create_task(begin(), name="start")
    if not await ended_before(starting, life.stopping):
        await _cancelled(starting)
    error = None if starting.cancelled() else starting.exception()
    if error is not None:
        log.error("the start failed", exc_info=error)
        life.fail()
    elif not life.stopping.is_set():
        life.ready = True
        log.info("started")


async def _stop(life: Lifecycle, timeout_s: float) -> None:
    closing = asyncio.create_task(life.close(), name="stop")
    done, _ = await asyncio.wait([closing], timeout=timeout_s)
    if done:
        log.info("stopped", exitCode=1 if life.failed else 0)
        return
    life.failed = True
    log.error("the time to stop was not enough", parts=life.waiting, timeoutS=timeout_s)
    closing.cancel()


def _obey_signals(life: Lifecycle, loop: asyncio.AbstractEventLoop, watchdog: _Watchdog) -> None:
    """SIGTERM and SIGINT stop once; a second one is ignored, also while the loop is closing."""

    def heard(number: int, _frame: FrameType | None) -> None:
        watchdog.arm()  # here, because a loop that hangs runs nothing
        if not loop.is_closed():
            loop.call_soon_threadsafe(_heard, life, signal.Signals(number).name)

    for number in _SIGNALS:
        signal.signal(number, heard)


def _heard(life: Lifecycle, name: str) -> None:
    if life.stopping.is_set():
        log.info("already stopping", signal=name)
        return
    log.info("stopping", signal=name)
    life.stop()


def _log_uncaught(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error(
        "uncaught exception in the loop",
        reason=context.get("message"),
        exc_info=context.get("exception"),
    )
