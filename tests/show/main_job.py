"""The main job, end to end: what it must show."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.show import Item, Verdict
from tests.show.fresh_clone import ready_from_a_fresh_clone, tests_pass_in_time
from tests.show.stores import fresh_stores, heart_on
from tests.stories.latency import measure, percentile
from tests.stories.stack import Stack, open_stack

ROOT = Path(__file__).parents[2]
QUESTIONS, SOCKETS = 100, 200


def pytest_passes(*arguments: str, **environ: str) -> Verdict:
    """Run a part of the tests; the figure is pytest's closing line."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--timeout=0", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return Verdict(done.returncode == 0, lines[-1].strip("= ") if lines else "no output")


def readme_as_printed() -> Verdict:
    return pytest_passes("tests/stories/test_readme.py")


def stories() -> Verdict:
    return pytest_passes("tests/stories/test_main_job.py", STORIES="full")


@asynccontextmanager
async def installation(**settings: str) -> AsyncIterator[Stack]:
    """Durable stores of their own and the three doors as processes, by default with the real
    timers."""
    async with (
        fresh_stores() as stores,
        heart_on(stores) as domain,
        open_stack(domain, *stores, settings) as stack,
    ):
        yield stack


async def latency() -> Verdict:
    """100 urgent questions one after the other, 200 sockets in the cells, real timers."""
    async with installation() as stack:
        took = await measure(stack, QUESTIONS, SOCKETS)
    p50, p95, p99 = (percentile(took, share) * 1000 for share in (0.5, 0.95, 0.99))
    figures = f"n={len(took)} p50={p50:.1f}ms p95={p95:.1f}ms p99={p99:.1f}ms"
    return Verdict(p95 < 100, f"{figures}, from the request that commits to the socket")


def checks() -> Verdict:
    done = subprocess.run(
        ["make", "-s", "check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    picture = ROOT / "deploy/docs/console.png"
    shown = picture.exists() and "deploy/docs/console.png" in (ROOT / "README.md").read_text()
    size = picture.stat().st_size // 1024 if picture.exists() else 0
    said = "green" if done.returncode == 0 else done.stdout.strip().splitlines()[-1]
    return Verdict(done.returncode == 0 and shown, f"make check {said}, screenshot {size} KiB")


async def fresh_clone() -> Verdict:
    return await ready_from_a_fresh_clone()


ITEMS = [
    Item("1.1", "ready from a fresh clone", fresh_clone),
    Item("1.1b", "make test from a fresh clone", tests_pass_in_time),
    Item("1.2", "the README's snippets as printed", readme_as_printed),
    Item("1.3", "the whole way by processes, with crashes", stories),
    Item("1.4", "commit to socket", latency),
    Item("1.5", "checks and screenshot", checks),
]
