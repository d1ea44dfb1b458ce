"""Chat at the pace of a large live broadcast, beside what a plain broadcast to as many costs."""

from typing import Final

from tests.benchmarks import runs
from tests.benchmarks.runs import Row
from tests.show import Verdict

REPS: Final = 3
OF_PLAIN, WITHIN_MS = 1.5, 100


def unheard(row: Row) -> float:
    """Messages that some of the room had not heard 2 s after the last one was sent."""
    return float(row["incomplete"])


def chatting() -> Verdict:
    """500 messages a second in a room of 200 of `dongne hub`, each kept in PostgreSQL first."""
    if missing := runs.lacking():
        return Verdict(False, f"nothing can be measured without {', '.join(missing)}")
    found = runs.run("CHAT", ["hub-chat", "hub"], REPS)
    said, plain = (runs.median(found, kind, runs.cpu) for kind in ("hub-chat", "hub"))
    late = runs.median(found, "hub-chat", runs.p99) / 1000
    pace = runs.median(found, "hub-chat", runs.rate) / 200
    lost = sum(unheard(row) for row in found["hub-chat"])
    figures = (
        f"{said:.2f} us of CPU a delivery beside {plain:.2f} ({said / plain:.2f}, at most"
        f" {OF_PLAIN}), {pace:.0f} messages a second, p99 {late:.0f} ms (at most {WITHIN_MS}),"
        f" {lost:.0f} not heard by all"
    )
    passed = said <= OF_PLAIN * plain and late < WITHIN_MS and not lost
    return Verdict(passed and pace > 490, figures)
