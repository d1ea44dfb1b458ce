"""Real processes and real signals: each test writes a small program and ends it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.plumbing.life.lifecycle import Lifecycle
from tests.forked import Started

ROOT = Path(__file__).parents[4]

PROLOGUE = """
import asyncio, sys, time
from hub.plumbing.life.lifecycle import Lifecycle, run
from hub.plumbing.settings.settings import Settings

def say(word):
    print(word, flush=True)

async def stop(name, seconds=0):
    await asyncio.sleep(seconds)
    say("stop " + name)
"""

EPILOGUE = """
settings = Settings.load({"LOG_FORMAT": "json", "SHUTDOWN_TIMEOUT": "%d"}, complete=False)
sys.exit(run(main, settings))
"""


@dataclass
class Program:
    """A running program; `lines` are those it printed so far."""

    process: subprocess.Popen[str] | Started
    lines: list[str]

    def until(self, what: str) -> str:
        """Read on until a line holds `what`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if what in line:
                return line
        raise AssertionError(f"{what!r} was never printed: {self.lines}")

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        assert self.process.stdout is not None
        self.lines += [line.rstrip("\n") for line in self.process.stdout]
        return self.process.wait(timeout=20)

    @property
    def said(self) -> list[str]:
        return [line for line in self.lines if not line.startswith("{")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in lines if line["event"] == event]


@contextmanager
def program(body: str, timeout_ms: int = 5000, *, executed: bool = False) -> Iterator[Program]:
    """It is forked, unless the end of the interpreter belongs to what is shown."""
    text = PROLOGUE + textwrap.dedent(body) + EPILOGUE % timeout_ms
    process = (
        subprocess.Popen(
            [sys.executable, "-c", text],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if executed
        else Started(text, os.environ)
    )
    try:
        yield Program(process, [])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


THREE_PARTS = """
async def main(life):
    for name in ("database", "redis", "door"):
        life.on_stop(name, lambda name=name: stop(name))
        say("start " + name)
    life.on_stop("ready", lambda: asyncio.to_thread(say, f"ready {life.ready}"))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_in_order_stops_in_reverse_and_exits_with_0(number: signal.Signals) -> None:
    with program(THREE_PARTS) as one:
        one.until('"started"')
        one.signal(number)
        assert one.end() == 0
        assert one.said == [
            "start database", "start redis", "start door",
            "ready False", "stop door", "stop redis", "stop database",
        ]  # fmt: skip
        assert [line["signal"] for line in one.logged("stopping")] == [number.name]


def test_further_signals_are_ignored_until_the_very_end() -> None:
    body = """
    async def main(life):
        life.on_stop("slow", lambda: stop("slow", 0.5))
    """
    with program(body, executed=True) as one:
        one.until('"started"')
        one.signal()
        one.until('"stopping"')
        while one.process.poll() is None:
            one.signal(signal.SIGINT)
            one.signal(signal.SIGTERM)
            time.sleep(0.005)
        assert one.end() == 0
        assert one.said == ["stop slow"]
        assert len(one.logged("stopping")) == 1
        assert one.logged("already stopping")


def test_a_failed_background_task_ends_the_process_with_1_and_stops_the_rest() -> None:
    body = """
    async def broken():
        await asyncio.sleep(0.05)
        raise RuntimeError("the sweeper fell over")

    async def main(life):
        life.on_stop("database", lambda: stop("database"))
        life.spawn("sweeper", broken())
        life.on_stop("door", lambda: stop("door"))
    """
    with program(body) as one:
        assert one.end() == 1
        assert one.said == ["stop door", "stop database"]
        failed = one.logged("a background task failed")
        assert failed[0]["task"] == "sweeper"
        assert failed[0]["error"]["message"] == "the sweeper fell over"
        assert "broken" in failed[0]["error"]["stack"]


def test_a_background_task_may_end_and_is_cancelled_at_its_turn() -> None:
    body = """
    async def brief():
        say("brief")

    async def loop():
        try:
            await asyncio.Event().wait()
        finally:
            say("loop cancelled")

    async def main(life):
        life.on_stop("database", lambda: stop("database"))
        life.spawn("brief", brief())
        life.spawn("loop", loop())
        life.on_stop("door", lambda: stop("door"))
    """
    with program(body) as one:
        one.until('"started"')
        one.signal()
        assert one.end() == 0
        assert one.said == ["brief", "stop door", "loop cancelled", "stop database"]


def test_a_failed_start_stops_what_had_started_and_exits_with_1() -> None:
    body = """
    async def main(life):
        life.on_stop("database", lambda: stop("database"))
        raise OSError("the port is taken")
    """
    with program(body) as one:
        assert one.end() == 1
        assert one.said == ["stop database"]
        assert one.logged("the start failed")[0]["error"]["name"] == "OSError"


def test_a_signal_during_the_start_ends_it() -> None:
    body = """
    async def main(life):
        life.on_stop("database", lambda: stop("database"))
        say("starting")
        await asyncio.Event().wait()
    """
    with program(body) as one:
        one.until("starting")
        one.signal()
        assert one.end() == 0
        assert one.said == ["starting", "stop database"]
        assert not one.logged("started")


def test_one_part_that_fails_to_stop_keeps_nobody_else() -> None:
    body = """
    async def fails():
        raise ValueError("no")

    async def waits_for_a_cancelled_task():
        task = asyncio.create_task(asyncio.sleep(9))
        task.cancel()
        await task

    async def main(life):
        life.on_stop("database", lambda: stop("database"))
        life.on_stop("cancelled", waits_for_a_cancelled_task)
        life.on_stop("fails", fails)
    """
    with program(body) as one:
        one.until('"started"')
        one.signal()
        assert one.end() == 1
        assert one.said == ["stop database"]
        assert one.logged("a part did not stop cleanly")[0]["part"] == "fails"


def test_when_the_time_is_not_enough_it_exits_with_1_and_names_what_is_left() -> None:
    body = """
    async def main(life):
        life.on_stop("database", lambda: stop("database"))
        life.on_stop("endless", lambda: asyncio.Event().wait())
    """
    with program(body, timeout_ms=300) as one:
        one.until('"started"')
        start = time.monotonic()
        one.signal()
        assert one.end() == 1
        assert 0.25 < time.monotonic() - start < 3
        left = one.logged("the time to stop was not enough")
        assert left[0]["parts"] == ["endless", "database"]


HANGS = {
    "the loop itself": """
    async def main(life):
        def hang():
            say("hanging")
            while True:
                time.sleep(0.01)
        asyncio.get_running_loop().call_later(0.05, hang)
    """,
    "a task that refuses to be cancelled": """
    async def stubborn():
        say("hanging")
        while True:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                pass

    async def main(life):
        life.spawn("stubborn", stubborn())
    """,
    "a thread that never returns": """
    async def main(life):
        life.spawn("thread", asyncio.to_thread(time.sleep, 60))
        say("hanging")
    """,
}


@pytest.mark.parametrize("body", HANGS.values(), ids=HANGS.keys())
def test_what_hangs_is_ended_by_the_watchdog(body: str) -> None:
    with program(body, timeout_ms=200) as one:
        one.until("hanging")
        start = time.monotonic()
        one.signal()
        assert one.end() == 1
        assert time.monotonic() - start < 5
        assert one.logged("the process did not stop in time and is ended")


def test_an_uncaught_exception_in_the_loop_is_logged_and_the_process_lives() -> None:
    body = """
    async def main(life):
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    """
    with program(body) as one:
        one.until("uncaught exception in the loop")
        one.signal()
        assert one.end() == 0
        logged = one.logged("uncaught exception in the loop")[0]
        assert logged["error"]["name"] == "ZeroDivisionError"


def test_the_loop_is_uvloop() -> None:
    body = """
    async def main(life):
        say(type(asyncio.get_running_loop()).__module__)
        life.stop()
    """
    with program(body) as one:
        assert one.end() == 0
        assert one.said == ["uvloop"]


# Without a process: a test or a larger whole may own a Lifecycle, too


async def test_contexts_are_left_in_reverse() -> None:
    said: list[str] = []

    @asynccontextmanager
    async def part(name: str) -> Any:
        said.append(f"enter {name}")
        yield name
        said.append(f"leave {name}")

    life = Lifecycle()
    assert await life.enter("a", part("a")) == "a"
    assert await life.enter("b", part("b")) == "b"
    assert life.waiting == ["b", "a"]
    await life.close()
    assert said == ["enter a", "enter b", "leave b", "leave a"]
    assert life.waiting == []
    assert not life.failed


async def test_stopping_twice_is_stopping_once() -> None:
    asked: list[None] = []
    life = Lifecycle(on_stopping=lambda: asked.append(None))
    life.ready = True
    life.stop()
    assert life.stopping.is_set()
    assert not life.ready
    life.stop()
    await life.close()
    await life.close()
    assert not life.failed


async def test_a_failure_is_seen_by_whoever_waits_for_the_end() -> None:
    async def fails() -> None:
        raise RuntimeError

    life = Lifecycle()
    life.spawn("one", fails())
    async with asyncio.timeout(5):
        await life.stopping.wait()
    assert life.failed
    await life.close()


async def test_who_takes_a_cancellation_for_something_else_is_cancelled_again() -> None:
    taken = 0

    async def deaf_once() -> None:
        nonlocal taken
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                taken += 1
                if taken > 1:
                    raise

    life = Lifecycle()
    life.spawn("one", deaf_once())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await life.close()
    assert taken == 2
    assert not life.failed
