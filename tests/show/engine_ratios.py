"""The engine beside its peers in one interleaved run of the bench; medians of the repetitions.

    python -m tests.show.engine_ratios S1 [--reps 5]

Needs what ``make bench`` needs: cc, taskset, node with the stock peers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.show import Verdict

BENCH = Path(__file__).parents[1] / "benchmarks"
PEERS = Path(__file__).parents[1] / "node" / "node_modules"

Rows = dict[str, list[dict[str, Any]]]
Figure = Callable[[dict[str, Any]], float]


def cpu(row: dict[str, Any]) -> float:
    """Microseconds of the server a delivery or round trip."""
    return float(row["procs"]["server"]["us_per_unit"])


def rate(row: dict[str, Any]) -> float:
    return float(row["per_s"])


def p99(row: dict[str, Any]) -> float:
    return float(row["latency_us"]["p99"])


def last_p99(row: dict[str, Any]) -> float:
    return float(row["last_client_us"]["p99"])


def connect_cpu(row: dict[str, Any]) -> float:
    """Microseconds of the server a connection."""
    seconds = float(row["procs"]["server"]["connect_cpu_s"])
    return seconds * 1e6 / max(1, int(row["ready"]))


def connect_rss(row: dict[str, Any]) -> float:
    """KiB a connection."""
    server = row["procs"]["server"]
    return float(server["rss1_kib"] - server["rss0_kib"]) / max(1, int(row["ready"]))


# scenario → kinds, and (figure, hub's share of which kind, at most or at least)
Rule = tuple[str, Figure, str, str, float]
RULES: dict[str, tuple[list[str], list[Rule]]] = {
    "S1": (
        ["floor", "node", "py-uvloop", "hub"],
        [
            ("CPU", cpu, "py-uvloop", "<=", 1 / 16),
            ("CPU", cpu, "node", "<=", 0.4),
        ],
    ),
    "S1w1": (
        ["floor", "node", "hub"],
        [("CPU", cpu, "node", "<=", 0.6), ("CPU", cpu, "floor", "<=", 2.0)],
    ),
    "S1w16": (
        ["floor-coalesce", "node", "hub"],
        [
            ("deliveries/s", rate, "node", ">=", 7.0),
            ("CPU", cpu, "floor-coalesce", "<=", 1.6),
        ],
    ),
    "S2": (
        ["node", "hub"],
        [("p99", p99, "node", "<=", 1.1), ("last-client p99", last_p99, "node", "<=", 1.1)],
    ),
    "S5": (["node", "hub", "hub-token"], [("CPU", connect_cpu, "node", "<=", 0.6)]),
    "S6": (
        ["node", "hub", "hub-nogate", "hub-redis"],
        [("CPU", cpu, "node", "<=", 1.0)],
    ),
}
MAX_KIB = 8.0


def run(scenario: str, kinds: list[str], reps: int) -> Rows:
    """Raw results by kind."""
    subprocess.run(["make", "-s", "-C", str(BENCH), "loadgen", "floor"], check=True)
    rows: Rows = {kind: [] for kind in kinds}
    environment = {
        **os.environ,
        "BENCH_PYTHON": sys.executable,
        "NODE_PATH": os.environ.get("NODE_PATH", str(PEERS)),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, str(BENCH / "bench.py"), scenario, *kinds]
        command += ["--reps", str(reps), "--json", file.name]
        command += ["--kinds", str(BENCH / "kinds.json")]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        for line in Path(file.name).read_text().splitlines():
            row = json.loads(line)
            rows[row["kind"]].append(row)
    return rows


def median(rows: Rows, kind: str, figure: Figure) -> float:
    found = [figure(row) for row in rows[kind]]
    return float(statistics.median(found)) if found else float("nan")


def show(scenario: str, reps: int = 5) -> Verdict:
    """One scenario; NaN where a kind could not run, which is no pass."""
    kinds, rules = RULES[scenario]
    rows = run(scenario, kinds, reps)
    figures, passed = [], True
    for name, figure, peer, sign, limit in rules:
        ratio = median(rows, "hub", figure) / median(rows, peer, figure)
        passed &= ratio <= limit if sign == "<=" else ratio >= limit
        figures.append(f"{name}/{peer}={ratio:.3f} ({sign} {limit:.3g})")
    if scenario == "S5":
        kib = median(rows, "hub", connect_rss)
        passed &= kib <= MAX_KIB
        figures.append(f"RSS={kib:.2f} KiB (<= {MAX_KIB:g})")
    if scenario == "S6":
        ratio = median(rows, "hub-nogate", cpu) / median(rows, "node", cpu)
        passed &= ratio <= 0.85
        figures.append(f"without gate/node={ratio:.3f} (<= 0.85)")
    unit = connect_cpu if scenario == "S5" else cpu
    figures += [f"{kind} {median(rows, kind, unit):.2f} us" for kind in kinds]
    return Verdict(passed, f"{scenario} reps={reps}: {', '.join(figures)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=sorted(RULES))
    parser.add_argument("--reps", type=int, default=5)
    args = parser.parse_args()
    print(show(args.scenario, args.reps))


if __name__ == "__main__":
    main()
