"""Prints what this machine cannot test, before the tests run: `python -m tests.left_out`."""

import shutil
from collections.abc import Iterator

from hub.embedded import EmbeddedError
from hub.embedded.account import account
from hub.embedded.programs import find_postgres, find_valkey
from tests.deploy.tree import program

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


PROGRAMS = {
    "nginx": "stories and configurations of nginx",
    "pgbouncer": "an api and a worker that pool transactions",
    "haproxy": "story and configuration of HAProxy",
    "promtool": "rules of alerts, and the tests of each",
    "prometheus": "the dashboards' queries against a live hub",
    "helm": "the chart, rendered anew",
    "terraform": "the form of the Terraform files",
    "shellcheck": "the scripts of deploy, read by a linter",
}
"""What only `deploy` needs."""


def left_out() -> Iterator[str]:
    """One line for each thing missing, with what is not tested without it."""
    yield "stories in their long form, benchmarks: make story, make bench, make show"
    if not any(map(shutil.which, CHROMIUM)):
        yield "the browser tests and the screenshot: no Chromium"
    for name, what in PROGRAMS.items():
        if not program(name):
            yield f"{what}: no {name}"
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
