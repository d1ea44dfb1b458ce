"""All nodes are restarted in turn: nothing is lost, and nobody is stormed."""

import os
from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.stories.cluster.nodes import open_nodes
from tests.stories.cluster.rolling import SHORT, Plan, play

pytestmark = [pytest.mark.story, pytest.mark.alone]
FULL = os.environ.get("STORIES") == "full"
DRAIN_RATE = 100 if FULL else 40
SETTINGS = {} if FULL else {"DRAIN_RATE": str(DRAIN_RATE), "SHUTDOWN_DRAIN_MS": "200"}


@pytest.mark.timeout(300)
async def test_a_rolling_restart_is_not_noticed(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with open_nodes(domain, database_url, redis_url, tmp_path, 3, SETTINGS) as nodes:
        result = await play(nodes, Plan() if FULL else SHORT)
    print(result)
    assert result.account.clean, str(result)
    assert result.account.told == result.lies == result.failed == 0
    assert result.codes == [0, 0, 0]
    assert result.busiest <= DRAIN_RATE
    assert result.gap(0.99) < 2
