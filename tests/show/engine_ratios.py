"""The engine beside its peers in one interleaved run of the bench; medians of the repetitions.

    python -m tests.show.engine_ratios S1 [--reps 5]

Needs what ``make bench`` needs: cc, taskset, node with the stock peers.
"""

from __future__ import annotations

import argparse

from tests.benchmarks.runs import (
    KINDS,
    Figure,
    connect_cpu,
    connect_rss,
    cpu,
    last_p99,
    median,
    p99,
    rate,
    run,
)
from tests.show import Verdict

# figure of the engine, its share of which peer's, and the bound
Rule = tuple[str, Figure, str, str, float]
RULES: dict[str, list[Rule]] = {
    "S1": [("CPU", cpu, "py-uvloop", "<=", 1 / 16), ("CPU", cpu, "node", "<=", 0.4)],
    "S1w1": [("CPU", cpu, "node", "<=", 0.6), ("CPU", cpu, "floor", "<=", 2.0)],
    "S1w16": [
        ("deliveries/s", rate, "node", ">=", 7.0),
        ("CPU", cpu, "floor-coalesce", "<=", 1.6),
    ],
    "S2": [("p99", p99, "node", "<=", 1.1), ("last-client p99", last_p99, "node", "<=", 1.1)],
    "S5": [("CPU", connect_cpu, "node", "<=", 0.6)],
    "S6": [("CPU", cpu, "node", "<=", 0.85)],
}
MAX_KIB = 8.0


def show(scenario: str, reps: int = 5) -> Verdict:
    """One scenario; NaN where a kind could not run, which is no pass."""
    kinds = [kind for kind in KINDS[scenario] if kind not in ("hub", "centrifugo")]
    rows = run(scenario, kinds, reps)
    figures, passed = [], True
    for name, figure, peer, sign, limit in RULES[scenario]:
        ratio = median(rows, "engine", figure) / median(rows, peer, figure)
        passed &= ratio <= limit if sign == "<=" else ratio >= limit
        figures.append(f"{name}/{peer}={ratio:.3f} ({sign} {limit:.3g})")
    if scenario == "S5":
        kib = median(rows, "engine", connect_rss)
        passed &= kib <= MAX_KIB
        figures.append(f"RSS={kib:.2f} KiB (<= {MAX_KIB:g})")
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
