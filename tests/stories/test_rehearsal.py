"""Blue, green, and back again behind nginx: nobody is refused and nothing is lost."""

import os
from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.deploy.proxies import NGINX
from tests.stories.rehearsal import SHORT, Plan, rehearse

pytestmark = [
    pytest.mark.story,
    pytest.mark.alone,
    pytest.mark.skipif(NGINX is None, reason="no nginx on this machine"),
]
FULL = os.environ.get("STORIES") == "full"


@pytest.mark.timeout(300)
async def test_a_release_and_its_way_back_are_not_noticed(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    result = await rehearse(domain, database_url, redis_url, tmp_path, Plan() if FULL else SHORT)
    print(result)
    assert result.clean, str(result)
    assert [step.to for step in result.steps] == ["green", "blue"]
