"""A dead node's people are gone when their leases are, before anybody has cleared up."""

import os
from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.stories.cluster.nodes import open_nodes
from tests.stories.cluster.presence import SHORT, play

pytestmark = pytest.mark.story
FULL = os.environ.get("STORIES") == "full"


@pytest.mark.timeout(180)
async def test_no_ghost_of_a_dead_node(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {} if FULL else SHORT
    async with open_nodes(domain, database_url, redis_url, tmp_path, 2, settings) as nodes:
        result = await play(nodes, nodes.settings.sockets.presence_ttl_s)
    print(result)
    assert result.right, str(result)
