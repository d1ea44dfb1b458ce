"""Many people who only listen, on two nodes (G10); the figures are printed."""

import os
from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.stories.cluster.idle import SHORT, Plan, play
from tests.stories.cluster.nodes import open_nodes

pytestmark = pytest.mark.story
FULL = os.environ.get("STORIES") == "full"


@pytest.mark.timeout(300)
async def test_idle_sockets_and_traffic(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with open_nodes(domain, database_url, redis_url, tmp_path, 2) as nodes:
        result = await play(nodes, Plan() if FULL else SHORT)
    print(result)
    assert result.heard == result.expected > 0
    assert result.dropped == 0
