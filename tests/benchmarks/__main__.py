"""`make bench`: the table of the README, measured on this machine.

    python -m tests.benchmarks [S1 S2 S6 …] [--reps N]

Says what this machine lacks and measures the rest. README.md beside tells what the figures mean.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import runs
from tests.benchmarks.runs import (
    KINDS,
    Figure,
    Row,
    Rows,
    connect_cpu,
    connect_rss,
    cpu,
    last_p99,
    median,
    p99,
    rate,
)


class Line(NamedTuple):
    """One line of the table: the median of a figure of these kinds."""

    title: str
    scenario: str
    figure: Figure
    form: str
    hub: str = "hub"
    stock: str = ""
    floor: str = ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """In the order of COLUMNS."""
        return self.hub, "node", "centrifugo", self.stock, self.floor


COLUMNS = ("hub", "Node", "Centrifugo", "stock Python", "floor")
ALONE = "the engine alone"
US, MS, KIB = "{:.2f} µs", "{:.1f} ms", "{:.1f} KiB"


def p99_ms(row: Row) -> float:
    return p99(row) / 1000


def last_p99_ms(row: Row) -> float:
    return last_p99(row) / 1000


def both(title: str, scenario: str, figure: Figure, form: str, **peers: str) -> list[Line]:
    """What is measured of the hub as it is shipped, and below it of the engine alone."""
    shipped = Line(title, scenario, figure, form, **peers)
    return [shipped, shipped._replace(title=ALONE, hub="engine")]


TABLE = [
    *both("CPU of a delivery, 4 under way", "S1", cpu, US, stock="py-uvloop", floor="floor"),
    *both("1 under way: nothing can be joined", "S1w1", cpu, US, floor="floor"),
    *both("16 under way; the floor joins, too", "S1w16", cpu, US, floor="floor-coalesce"),
    *both("deliveries a second", "S1w16", rate, "{:,.0f}", floor="floor-coalesce"),
    *both("20 broadcasts a second: p99", "S2", p99_ms, MS),
    *both("p99 of the last socket", "S2", last_p99_ms, MS),
    *both("memory of a connection, 10,000 idle", "S5", connect_rss, KIB),
    *both("CPU of a connection", "S5", connect_cpu, "{:.0f} µs"),
    *both("CPU of an event and its answer", "S6", cpu, US),
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--reps", type=int, default=1)
    arguments = parser.parse_args()
    scenarios = arguments.scenarios or list(KINDS)
    if unknown := set(scenarios) - set(KINDS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; all others: bench.py")
    if missing := runs.lacking():
        print(f"bench: nothing can be measured without {', '.join(missing)}")
        return 1
    left_out = runs.left_out()
    for what, why in left_out.items():
        print(f"bench: left out {what}: {why}")
    found: dict[str, Rows] = {}
    for scenario in (one for one in scenarios if one not in left_out):
        print(f"bench: {scenario}, {arguments.reps} of each", file=sys.stderr, flush=True)
        kinds = [kind for kind in KINDS[scenario] if kind not in left_out]
        found[scenario] = runs.run(scenario, kinds, arguments.reps)
    print("\n".join([*_table(found), "", *_machine(arguments.reps)]))
    return 0 if all(rows for kinds in found.values() for rows in kinds.values()) else 1


def _table(found: dict[str, Rows]) -> Iterator[str]:
    yield f"| 1,000 sockets in a room | {' | '.join(COLUMNS)} |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    for line in TABLE:
        if line.scenario in found:
            values = [median(found[line.scenario], kind, line.figure) for kind in line.kinds]
            cells = ["" if isnan(value) else line.form.format(value) for value in values]
            yield f"| {line.title} | {' | '.join(cells)} |"


def _machine(reps: int) -> Iterator[str]:
    yield (
        f"Medians of {reps}, interleaved, on {os.cpu_count()} × {_processor()}, "
        f"{platform.system()} {platform.release()}."
    )
    yield (
        f"Python {platform.python_version()}, uvloop {version('uvloop')}, stock python-socketio "
        f"{version('python-socketio')}; {_node()}{_centrifugo()}."
    )


def _processor() -> str:
    """As Linux names it."""
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [fact.partition(":")[2].strip() for fact in facts if fact.startswith("model name")]
    return names[0] if names else platform.machine()


def _node() -> str:
    both = "process.version + ' with socket.io ' + require('socket.io/package.json').version"
    try:
        said = subprocess.run(
            ["node", "-p", both], cwd=runs.PEERS.parent, capture_output=True, text=True
        )
    except FileNotFoundError:
        return "no Node.js"
    return f"Node.js {said.stdout.strip()}"


def _centrifugo() -> str:
    """As it names itself, where CENTRIFUGO names it."""
    program = shutil.which(os.environ.get("CENTRIFUGO", ""))
    if program is None:
        return ""
    said = subprocess.run([program, "version"], capture_output=True, text=True).stdout
    return f"; {said.partition('(')[0].strip()} with centrifugo.json and GOMAXPROCS=1"


if __name__ == "__main__":
    sys.exit(main())
