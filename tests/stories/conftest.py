"""Fixtures of the stories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.stories.stack import Stack, open_stack


@pytest.fixture
async def stack(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Stack]:
    async with open_stack(domain, database_url, redis_url, tmp_path) as opened:
        yield opened
