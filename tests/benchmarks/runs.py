"""Runs of ``bench.py``: which kinds a scenario compares, its raw results, and figures of them.

The kind ``hub`` is `dongne hub` as it is shipped: a process of its own, its sessions in Redis, the
people in PostgreSQL; what it delivers comes by Redis, as from the api. ``engine`` is the engine
alone, with the events that the peers have.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from hub.embedded import Postgres
from hub.embedded.account import account
from hub.embedded.programs import find_valkey
from hub.plumbing.stores.migrations import migrate
from protocol.tokens import TokenKeys, sign_access

HERE = Path(__file__).parent
PEERS = HERE.parent / "node" / "node_modules"

KINDS = {
    "S1": ["floor", "node", "py-uvloop", "centrifugo", "engine", "hub"],
    "S1w1": ["floor", "node", "centrifugo", "engine", "hub"],
    "S1w16": ["floor-coalesce", "node", "centrifugo", "engine", "hub"],
    "S2": ["node", "centrifugo", "engine", "hub"],
    "S5": ["node", "centrifugo", "engine", "hub"],
    "S6": ["node", "centrifugo", "engine", "hub"],
    "CHAT": ["hub", "hub-chat"],
}

SHIPPED = {"hub", "hub-before", "hub-chat", "hub-chat-before"}
"""They have people in PostgreSQL."""

# Without these nothing can be measured: the load generator is C, and the processes are pinned.
NEEDED = {"make": "make", "gcc or cc": "cc", "taskset (util-linux)": "taskset"}

FILES = 10_200
"""S5 opens 10,000 connections."""

PEOPLE = 10_000
"""Each connection to the hub is another person's: one person may have few."""

SECRET = "a secret of the bench, thirty-two characters and more"
"""JWT_SECRET of the kind ``hub``."""

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
    if not shutil.which(os.environ.get("CENTRIFUGO", "")):
        found["centrifugo"] = "CENTRIFUGO does not name its binary (version 6)"
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
            _write_people(Path(folder, "people"))
            environment = _environment(Path(folder))
            asyncio.run(_measure(command, environment, Path(folder), bool(SHIPPED & set(kinds))))
            for line in results.read_text().splitlines() if results.exists() else ():
                row = json.loads(line)
                rows[row["kind"]].append(row)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return rows


async def _measure(
    command: list[str], environment: dict[str, str], folder: Path, hub: bool
) -> None:
    """Run bench.py, where the hub is measured with its people, and a PostgreSQL beside the load
    generator."""
    if not hub:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return
    folder.chmod(0o711)  # root lends the server to another user
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(own)})  # what is started now stays off the measured processor
    server = Postgres(folder / "postgres", durable=False)
    try:
        url = await server.start()
        os.sched_setaffinity(0, own)
        conn = await asyncpg.connect(url)
        await migrate(conn)
        await conn.execute(
            "WITH people AS (INSERT INTO users (id, nickname)"
            " SELECT 'p' || n, 'p' || n FROM generate_series(0, $1 - 1) n RETURNING id)"
            " INSERT INTO notification_preferences (user_id) SELECT id FROM people",
            PEOPLE,
        )
        await conn.execute("ANALYZE")
        await conn.close()
        environment |= {"BENCH_DATABASE_URL": url}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, own)
        await server.stop()


def _write_people(path: Path) -> None:
    """What each of them says in CONNECT."""
    keys, now = TokenKeys((SECRET,), "hub"), datetime.now(UTC)
    with path.open("w") as file:
        for n in range(PEOPLE):
            token = sign_access(keys, f"p{n}", "user", now=now, ttl_s=86_400, jti=f"bench-{n}")
            file.write(json.dumps({"token": token}) + "\n")


def _environment(folder: Path) -> dict[str, str]:
    """bench.py finds its Python, the stock peers, and a redis-server, in the environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not shutil.which("redis-server"):
        (folder / "redis-server").symlink_to(find_valkey(account(), "wheel").path)
        path = f"{folder}{os.pathsep}{path}"
    own = {"PATH": path, "BENCH_PYTHON": sys.executable, "NODE_PATH": str(PEERS)}
    return {**os.environ, **own, "BENCH_PEOPLE": str(folder / "people")}


def median(rows: Rows, kind: str, figure: Figure) -> float:
    """NaN where a kind could not run."""
    found = [figure(row) for row in rows.get(kind, ())]
    return float(statistics.median(found)) if found else float("nan")


# figures


def cpu(row: Row) -> float:
    """Microseconds of the server a delivery or round trip."""
    return float(row["procs"]["server"]["us_per_unit"])


def node_cpu(row: Row, node: str) -> float:
    """The same of one node, where there are two."""
    return float(row["procs"][node]["us_per_unit"])


def both_nodes(row: Row) -> float:
    return node_cpu(row, "node0") + node_cpu(row, "node1")


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
