"""Runs of ``bench.py``: which kinds a scenario compares, its raw results, and figures of them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub.plumbing.embedded.account import account
from hub.plumbing.embedded.programs import find_valkey

HERE = Path(__file__).parent
PEERS = HERE.parent / "node" / "node_modules"

KINDS = {
    "S1": ["floor", "node", "py-uvloop", "hub"],
    "S1w1": ["floor", "node", "hub"],
    "S1w16": ["floor-coalesce", "node", "hub"],
    "S2": ["node", "hub"],
    "S5": ["node", "hub", "hub-token"],
    "S6": ["node", "hub", "hub-nogate", "hub-redis"],
}

# Without these nothing can be measured: the load generator is C, and the processes are pinned.
NEEDED = {"make": "make", "gcc or cc": "cc", "taskset (util-linux)": "taskset"}

FILES = 10_200
"""S5 opens 10,000 connections."""

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Figure = Callable[[Row], float]


def lacking() -> list[str]:
    """What must be installed before anything can be measured."""
    return [name for name, tool in NEEDED.items() if not shutil.which(tool)]


def left_out() -> dict[str, str]:
    """Kinds and scenarios this machine cannot run, and why."""
    found = {}
    if not (shutil.which("node") and PEERS.is_dir()):
        found["node"] = "no node, or its packages are not set up (make test does)"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= files < FILES:
        found["S5"] = f"at most {files} open files, it needs {FILES}"
    return found


def run(scenario: str, kinds: list[str], reps: int) -> Rows:
    """Raw results by kind; the repetitions are interleaved over the kinds."""
    subprocess.run(["make", "-s", "-C", str(HERE), "loadgen", "floor"], check=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows: Rows = {kind: [] for kind in kinds}
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder, "results")
            command = [sys.executable, str(HERE / "bench.py"), scenario, *kinds]
            command += ["--reps", str(reps), "--json", str(results)]
            command += ["--client-cpu", "1" if (os.cpu_count() or 1) > 1 else "0"]
            command += ["--kinds", str(HERE / "kinds.json")]
            environment = _environment(Path(folder))
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            for line in results.read_text().splitlines() if results.exists() else ():
                row = json.loads(line)
                rows[row["kind"]].append(row)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return rows


def _environment(folder: Path) -> dict[str, str]:
    """bench.py finds its Python, the stock peers, and a redis-server, in the environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not shutil.which("redis-server"):
        (folder / "redis-server").symlink_to(find_valkey(account(), "wheel").path)
        path = f"{folder}{os.pathsep}{path}"
    own = {"PATH": path, "BENCH_PYTHON": sys.executable, "NODE_PATH": str(PEERS)}
    return {**os.environ, **own}


def median(rows: Rows, kind: str, figure: Figure) -> float:
    """NaN where a kind could not run."""
    found = [figure(row) for row in rows.get(kind, ())]
    return float(statistics.median(found)) if found else float("nan")


# figures


def cpu(row: Row) -> float:
    """Microseconds of the server a delivery or round trip."""
    return float(row["procs"]["server"]["us_per_unit"])


def rate(row: Row) -> float:
    """Deliveries a second."""
    return float(row["per_s"])


def p99(row: Row) -> float:
    """Microseconds from the publish."""
    return float(row["latency_us"]["p99"])


def last_p99(row: Row) -> float:
    """The same of the socket that hears last."""
    return float(row["last_client_us"]["p99"])


def connect_cpu(row: Row) -> float:
    """Microseconds of the server a connection."""
    seconds = float(row["procs"]["server"]["connect_cpu_s"])
    return seconds * 1e6 / max(1, int(row["ready"]))


def connect_rss(row: Row) -> float:
    """KiB a connection."""
    server = row["procs"]["server"]
    return float(server["rss1_kib"] - server["rss0_kib"]) / max(1, int(row["ready"]))
