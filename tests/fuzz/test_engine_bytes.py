"""A slice of the byte fuzzer for each run of the tests; a million inputs with ``make fuzz``."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.conftest import FUZZ

from .engine_bytes import fuzz

pytestmark = pytest.mark.fuzz


async def test_fuzz_hostile_bytes_harm_nobody() -> None:
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    try:
        report = await fuzz(1_000_000 if FUZZ else 4_000, random.randrange(2**32) if FUZZ else 7)
    finally:
        loop.set_exception_handler(handler)
    assert report.wrong == []
    for ending in ("closed", "lives", "handed over", "waits for more", "polling: refused"):
        assert report.endings[ending] > 20, report.endings
    for fault in ("json", "utf8", "packet_type", "payload", "attachments", "ack_id", "too_deep"):
        assert report.faults.get(fault, 0) > 0, report.faults
