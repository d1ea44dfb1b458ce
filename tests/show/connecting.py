"""Connecting with everything on, beside Node with the same check and its Redis adapter."""

from typing import Final

from tests.benchmarks import runs
from tests.show import Verdict

REPS: Final = 3
OF_CPU, OF_MEMORY = 0.8, 0.5


def connecting() -> Verdict:
    """To `dongne hub` as it is shipped: token by kid, session in Redis, welcome from PostgreSQL."""
    if missing := runs.lacking():
        return Verdict(False, f"nothing can be measured without {', '.join(missing)}")
    left_out = runs.left_out()
    if why := left_out.get("node") or left_out.get("S5"):
        return Verdict(False, why)
    found = runs.run("S5", ["node-jwt", "hub"], REPS)
    cpu, rss = (
        [runs.median(found, kind, figure) for kind in ("hub", "node-jwt")]
        for figure in (runs.connect_cpu, runs.connect_rss)
    )
    figures = (
        f"{cpu[0]:.0f} us of CPU a connection beside {cpu[1]:.0f} ({cpu[0] / cpu[1]:.2f}, at most"
        f" {OF_CPU}), {rss[0]:.1f} KiB beside {rss[1]:.1f} ({rss[0] / rss[1]:.2f}, at most"
        f" {OF_MEMORY})"
    )
    return Verdict(cpu[0] <= OF_CPU * cpu[1] and rss[0] <= OF_MEMORY * rss[1], figures)
