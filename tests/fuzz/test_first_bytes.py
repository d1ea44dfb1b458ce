"""A slice of the fuzzer of first bytes for each run of the tests; 100,000 heads with ``make fuzz``
and ``make show WHAT=faults``."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.conftest import FUZZ

from .first_bytes import PATIENCE, fuzz

pytestmark = pytest.mark.fuzz


@pytest.mark.fault(1, 2, 8, 27)
async def test_fuzz_every_head_is_answered_once_by_one_parser(record_property: Any) -> None:
    count, seed = (100_000, random.randrange(2**32)) if FUZZ else (1_000, 7)
    report = await fuzz(count, seed)
    record_property("seen", f"{count} heads, slowest {max(report.waited):.2f} s")
    assert report.wrong == []
    assert report.p99 <= PATIENCE
    for ending in ("101", "400", "403", "404", "426", "200", "closed"):
        assert report.endings[ending] > count / 500, report.endings
