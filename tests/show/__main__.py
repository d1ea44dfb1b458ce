"""`python -m tests.show WHAT [NUMBER…]`: a line an item; exit status 1 unless all of them pass."""

import asyncio
import importlib
import inspect
import sys
import time

from tests.show import Item, Verdict


async def _verdict(item: Item) -> Verdict:
    try:
        result = item.measure()
        return await result if inspect.isawaitable(result) else result
    except Exception as error:  # whatever is wrong with one item, the others are still shown
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        text = str(error).strip().splitlines()
        return Verdict(False, f"{type(error).__name__}: {text[0] if text else ''}")


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
    """Each item has a loop of its own, so that none leaves a task to the next."""
    failed = 0
    for item in _items(what, numbers):
        start = time.monotonic()
        verdict = asyncio.run(_verdict(item))
        failed += not verdict.passed
        word = "pass" if verdict.passed else "fail"
        took = time.monotonic() - start
        print(f"{item.number} {word} {verdict.figures} ({item.title}, {took:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m tests.show WHAT [NUMBER…]")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
