"""Nodes die by kill -9 under traffic; the counts say what everybody heard."""

import os
from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.deploy.proxies import NGINX, FollowingNginx
from tests.stories.cluster.kills import SHORT, Plan, play
from tests.stories.cluster.nodes import open_nodes

pytestmark = pytest.mark.story
FULL = os.environ.get("STORIES") == "full"


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
async def test_nobody_misses_anything_behind_nginx(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """By the configuration that `deploy` holds; nodes believe one hop of X-Forwarded-For."""
    settings = {"TRUST_PROXY": "1"}
    async with open_nodes(
        domain, database_url, redis_url, tmp_path, 3, settings, front=FollowingNginx
    ) as nodes:
        result = await play(nodes, SHORT)
    print(result)
    assert result.clean, str(result)
    assert result.javascript.heard > 0


@pytest.mark.timeout(400)
async def test_nobody_misses_anything_while_nodes_are_killed(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with open_nodes(domain, database_url, redis_url, tmp_path, 3) as nodes:
        result = await play(nodes, Plan() if FULL else SHORT)
    print(result)
    assert result.clean, str(result)
    assert result.javascript.heard > 0
