"""The official protocol suites against tests.conformance.app.

    SUITES=CHECKOUT python -m tests.show.engine_suites

CHECKOUT is a checkout of the socket.io monorepo (docs/engine.io-protocol, docs/socket.io-protocol).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.show import Verdict

RUN = Path(__file__).parents[1] / "conformance" / "run.sh"


@contextmanager
def _app(ping_interval: int, ping_timeout: int) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.conformance.app", "--port", "0"]
    command += ["--ping-interval", str(ping_interval), "--ping-timeout", str(ping_timeout)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().split()[-1]}"
        finally:
            process.terminate()


def _suites(checkout: str, url: str, *more: str) -> tuple[bool, list[str]]:
    done = subprocess.run(
        [str(RUN), "--suites", checkout, "--url", url, *more],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
    return done.returncode == 0, lines or done.stderr.splitlines()[-1:]


def show() -> Verdict:
    """25/25 and 32/32 three times over, and strictly 21/21 and 26/26."""
    checkout = os.environ.get("SUITES", "")
    if not Path(checkout, "docs").is_dir():
        return Verdict(False, "SUITES names no checkout of the socket.io monorepo")
    with _app(300, 200) as url:
        passed, lines = _suites(checkout, url, "--repeat", "3")
    with _app(25_000, 20_000) as url:
        strict, strict_lines = _suites(checkout, url, "--strict")
    strictly = [f"strict {line}" for line in strict_lines]
    return Verdict(passed and strict, "; ".join([*lines, *strictly]))


if __name__ == "__main__":
    print(show())
