"""The kinds of faults that were found and mended: one line a kind, its tests and what they saw.

A test belongs to a kind by `@pytest.mark.fault(7)`; `record_property("seen", "…")` in it adds a
value to the line.
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import cache, partial
from pathlib import Path
from xml.etree import ElementTree

from tests.fuzz.first_bytes import PATIENCE, fuzz
from tests.show import Item, Verdict, attacks, returns

ROOT = Path(__file__).parents[2]

KINDS = {
    1: "one parser for each request",
    2: "a fault of one message ends no session",
    3: "what stock clients cannot decode enters no log",
    4: "one reading of forwarded addresses",
    5: "the old transport serves until the new one is confirmed",
    6: "one rule for origins at all doors",
    7: "Redis that answers but refuses counts as away",
    8: "refused or silent callers cost nothing",
    9: "production starts as the bench does",
    10: "what a store would refuse is refused at the door",
    11: "the time of a fact decides, not its arrival",
    12: "a late outcome touches only what it was sent to",
    13: "one cause counts once",
    14: "an answer is about the recipient, us, or the provider",
    15: "figures stay within the provider's range",
    16: "identity by normal form",
    17: "today's rules of domains, mail, links, circles and tokens",
    18: "what was told wrongly",
    19: "an end after which a client shall return",
    20: "base64 over polling as the official server takes it",
    21: "socketsLeave of others is obeyed",
    22: "timers of questions to other servers are bounded",
    23: "refusals and peers are named",
    24: "work that a packet starts is counted",
    25: "back-pressure holds for every road",
    26: "reserved names cannot be reached",
    27: "every connection has a deadline and a limit",
    28: "keys of different people never meet",
    29: "TLS to PostgreSQL verifies",
    30: "secrets, tokens and headers",
    31: "what dongne up started, it starts again",
}


@cache
def _run() -> dict[int, list[tuple[str, bool, str]]]:
    """All marked tests in one run: by number, each test's name, whether it passed, what it saw."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "fault", f"--junitxml={report}"],
            cwd=ROOT,
            env={**os.environ},
            capture_output=True,
            check=False,
        )
        cases = ElementTree.parse(report).iter("testcase")
        found: dict[int, list[tuple[str, bool, str]]] = defaultdict(list)
        for case in cases:
            properties = [(p.get("name"), p.get("value", "")) for p in case.iter("property")]
            seen = " ".join(value for name, value in properties if name == "seen")
            passed = not any(case.find(end) is not None for end in ("failure", "error", "skipped"))
            for name, value in properties:
                if name == "fault":
                    found[int(value)].append((case.get("name", ""), passed, seen))
    return found


def kind(number: int) -> Verdict:
    tests = _run().get(number, [])
    failed = [name for name, passed, _ in tests if not passed]
    names = sorted({name.partition("[")[0] for name, _, _ in tests})
    seen = "; ".join(dict.fromkeys(seen for _, _, seen in tests if seen))
    said = f"{len(tests)} tests ({', '.join(names)}) {seen}".strip()
    return Verdict(bool(tests) and not failed, said + "".join(f" FAILED {f}" for f in failed))


async def first_bytes(count: int = 100_000, seed: int = 20261126) -> Verdict:
    report = await fuzz(count, seed)
    figures = f"heads={report.inputs} (each sent twice) in {report.seconds:.0f} s, "
    figures += f"p99={report.p99 * 1000:.0f}ms max={max(report.waited) * 1000:.0f}ms, "
    figures += f"endings={dict(report.endings)}, wrong={report.wrong or 'nothing'}"
    return Verdict(not report.wrong and max(report.waited) <= PATIENCE, figures)


ITEMS = [
    *(Item(f"1.{number}", title, partial(kind, number)) for number, title in KINDS.items()),
    Item("3", "a hub under each attack, as its users see it", attacks.measure),
    Item("4", "100,000 heads through the listening socket", first_bytes),
    Item("5", "clients of four languages come back", returns.show),
]
