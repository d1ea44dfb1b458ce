"""`python -m tests.show WHAT [NUMBER…]`: a line an item; exit status 1 unless all of them pass."""

import asyncio
import importlib
import inspect
import logging
import sys
import time
from collections.abc import Awaitable

import structlog

from tests.show import Item, Verdict


def _verdict(item: Item) -> Verdict:
    """Each item has a loop of its own, so that none leaves a task to the next; those that are no
    coroutine open theirs when they need one.
    """
    try:
        result = item.measure()
        return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result
    except Exception as error:  # whatever is wrong with one item, the others are still shown
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        text = str(error).strip().splitlines()
        return Verdict(False, f"{type(error).__name__}: {text[0] if text else ''}")


async def _awaited(result: Awaitable[Verdict]) -> Verdict:
    return await result


def _items(what: str, numbers: list[str]) -> list[Item]:
    module = f"tests.show.{what.replace('-', '_')}"
    try:
        items: list[Item] = importlib.import_module(module).ITEMS
    except (ModuleNotFoundError, AttributeError) as missing:
        if missing.name not in (module, "ITEMS"):
            raise
        raise SystemExit(f"there is no list {what} ({module})") from None
    if unknown := set(numbers) - {item.number for item in items}:
        raise SystemExit(f"{what} has no item {', '.join(sorted(unknown))}")
    return [Item(*item) for item in items if not numbers or item[0] in numbers]


def main(what: str, numbers: list[str]) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    failed = 0
    for item in _items(what, numbers):
        start = time.monotonic()
        verdict = _verdict(item)
        failed += not verdict.passed
        word = "pass" if verdict.passed else "fail"
        took = time.monotonic() - start
        print(f"{item.number} {word} {verdict.figures} ({item.title}, {took:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m tests.show WHAT [NUMBER…]")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
