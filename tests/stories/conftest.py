"""Fixtures of the stories."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.stories.stack import TIMERS, Stack, open_stack
from tests.workers import quick_worker

QUICK = {"PUSH_TIMEOUT": "3000"}
"""In the short form a dead worker is noticed after 1.5 s (after 10 otherwise), and its deliveries
are another's 2 s after this time-out (after 10 s).
"""


@pytest.fixture
async def stack(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Stack]:
    """In the short form with a worker that takes over sooner."""
    stores = domain, database_url, redis_url, tmp_path
    is_short = os.environ.get("STORIES") != "full"
    quick = (TIMERS | QUICK, quick_worker.main) if is_short else ()
    async with open_stack(*stores, *quick) as opened:
        yield opened
