"""The urgent protocol under everything that goes wrong at once, in the short form; the long one is
`make show WHAT=urgent ITEM=2`.
"""

from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.stories.wakes.findings import look
from tests.stories.wakes.story import SHORT, tell

pytestmark = pytest.mark.story

SEED = 12


async def test_nobody_is_missed_and_nobody_called_twice(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with tell(SHORT, SEED, domain, database_url, redis_url, tmp_path) as told:
        found = await look(told)
    print(f"seed {SEED}", *found.figures, sep="\n")
    assert not found.wrong, found.wrong
