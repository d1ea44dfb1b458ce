"""Prints what this machine cannot test, before the tests run: `python -m tests.left_out`."""

import shutil
from collections.abc import Iterator

from hub.embedded import EmbeddedError
from hub.embedded.account import account
from hub.embedded.programs import find_postgres, find_valkey
from tests.stories.cluster.nginx import PROGRAM

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def left_out() -> Iterator[str]:
    """One line for each thing missing, with what is not tested without it."""
    yield "stories in their long form, benchmarks: make story, make bench, make show"
    if not any(map(shutil.which, CHROMIUM)):
        yield "the browser tests and the screenshot: no Chromium"
    if PROGRAM is None:
        yield "the story behind nginx: no nginx"
    if not shutil.which("node"):
        yield "the stock JavaScript clients and servers: no node"
    for find in (find_postgres, find_valkey):
        try:
            yield f"(make test-system would use {find(account(), 'system').title})"
        except EmbeddedError as missing:
            yield f"the leg on the machine's own servers (make test-system): {missing}"


if __name__ == "__main__":
    print("Left out of this run:")
    for line in left_out():
        print(f"  - {line}")
