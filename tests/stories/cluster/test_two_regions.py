"""Two regions in one Redis Cluster: whoever travels is told in both, and reads one inbox."""

import os
from pathlib import Path

import pytest

from tests.databases import fresh_database
from tests.hub.cluster.slots import Alone
from tests.stories.cluster.two_regions import SHORT, Plan, open_country, play
from tests.workers import quick_worker

pytestmark = pytest.mark.story
FULL = os.environ.get("STORIES") == "full"


async def test_a_traveller_is_told_once_while_workers_are_killed(
    postgres_url: str, database_url: str, tmp_path: Path
) -> None:
    """A cluster of one node, and workers that notice sooner that another one died."""
    cluster = Alone()
    try:
        async with fresh_database(postgres_url) as second:
            databases = {"jeju": database_url, "busan": second}
            work = None if FULL else quick_worker.main
            async with open_country(cluster.url, databases, tmp_path, work) as country:
                result = await play(country, Plan() if FULL else SHORT)
    finally:
        cluster.close()
    print(result)
    assert result.right, str(result)
