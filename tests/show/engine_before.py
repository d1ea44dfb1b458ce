"""The engine and the cluster beside an earlier revision of themselves, in one interleaved run.

    python -m tests.show.engine_before S1 [--hub] [--reps 7] [--revision 134d940]

The earlier tree is taken from git's history into a folder of its own and runs in the same Python
with the same libraries; both check the same people's tokens. Needs what ``make bench`` needs.
"""

import argparse
import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from tests.benchmarks.runs import (
    Figure,
    both_nodes,
    connect_cpu,
    connect_rss,
    cpu,
    last_p99,
    median,
    run,
)
from tests.show import Verdict

ROOT: Final = Path(__file__).parents[2]
REVISION: Final = "134d940"
"""The last one before the house was redrawn."""

UNTRACED: Final = "5803550"
"""The last one that could not trace."""

SLOWER: Final = 1.03

HUB: Final = ("hub", "hub-before")
ENGINE: Final = ("engine", "engine-before")
CLUSTER: Final = ("hub-cluster", "hub-cluster-before")
SCENARIOS: Final[dict[str, tuple[tuple[str, str], list[tuple[str, Figure]]]]] = {
    "S1": (ENGINE, [("us a delivery", cpu)]),
    "S1w1": (ENGINE, [("us a delivery", cpu)]),
    "S1w16": (ENGINE, [("us a delivery", cpu)]),
    "S2": (ENGINE, [("us a delivery", cpu), ("us to the last client, p99", last_p99)]),
    "S4": (CLUSTER, [("us a delivery", both_nodes)]),
    "S5": (ENGINE, [("us a connection", connect_cpu), ("KiB a connection", connect_rss)]),
    "S6": (ENGINE, [("us a round trip", cpu)]),
}
"""Kinds of kinds.json (today's, before) and the figures in which smaller is better."""


def unpack(revision: str, folder: Path) -> None:
    """The tree of a revision of git's history."""
    archive = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tree:
        tree.extractall(folder, filter="data")


def show(
    scenario: str,
    reps: int = 7,
    revision: str = REVISION,
    kinds: tuple[str, str] | None = None,
) -> Verdict:
    """Each figure of one scenario, today's and its ratio to the earlier one's. `kinds` are of
    kinds.json: today's, before; by default those of the scenario.
    """
    usual, figures = SCENARIOS[scenario]
    now, before = kinds or usual
    with tempfile.TemporaryDirectory() as folder:
        unpack(revision, Path(folder))
        os.environ["BENCH_BEFORE"] = folder
        rows = run(scenario, [now, before], reps)
    passed, said = True, []
    for name, figure in figures:
        today, earlier = median(rows, now, figure), median(rows, before, figure)
        passed &= today <= earlier * SLOWER
        said.append(f"{earlier:.2f} -> {today:.2f} {name} ({today / earlier:.3f})")
    return Verdict(passed, f"{scenario} n={reps}: {', '.join(said)}")


def untraced(reps: int = 7) -> Verdict:
    """What events cost the shipped hub that traces nothing, beside the one that could not: from
    Redis to a thousand sockets, and from a client and back.
    """
    verdicts = [show(scenario, reps, UNTRACED, HUB) for scenario in ("S1", "S6")]
    return Verdict(all(one.passed for one in verdicts), "; ".join(one.figures for one in verdicts))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    parser.add_argument("--hub", action="store_true", help="the shipped hub, not the engine alone")
    parser.add_argument("--reps", type=int, default=7)
    parser.add_argument("--revision", default=REVISION)
    args = parser.parse_args()
    print(show(args.scenario, args.reps, args.revision, HUB if args.hub else None))


if __name__ == "__main__":
    main()
