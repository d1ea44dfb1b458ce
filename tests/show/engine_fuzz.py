"""Hostile bytes: a million inputs of the byte fuzzer, and what became of them."""

from __future__ import annotations

from tests.fuzz.engine_bytes import fuzz
from tests.show import Verdict


async def show(count: int = 1_000_000, seed: int = 20261121) -> Verdict:
    report = await fuzz(count, seed)
    faults = sum(report.faults.values())
    figures = f"inputs={report.inputs} in {report.seconds:.0f} s, counted faults={faults}, "
    figures += f"endings={dict(report.endings)}, wrong={report.wrong or 'nothing'}"
    return Verdict(not report.wrong, figures)
