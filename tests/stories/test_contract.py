"""Short forms of what `make show WHAT=contract` shows: sessions, limits, effects."""

from pathlib import Path

import pytest

from hub.domain.context import Domain
from tests.stories import effects, limits, live, tokens
from tests.stories.fleet import open_fleet
from tests.workers import quick_worker

pytestmark = pytest.mark.story


async def test_a_login_outlives_its_tokens_and_ends_at_once(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    times = {"JWT_EXPIRATION": "3", "AUTH_EXPIRING_LEAD": "2", "AUTH_EXPIRED_GRACE": "2"}
    async with open_fleet(
        domain, database_url, redis_url, tmp_path, times, ("hub", "api")
    ) as fleet:
        lived = await tokens.outlive(fleet, lives=1, life_s=3)
        assert lived.whole, lived
        assert lived.renewals >= 1
        assert max(await tokens.revoked(fleet, people=2)) < tokens.CUT_S
        assert await tokens.stolen(fleet) < tokens.CUT_S


async def test_limits_hold_over_two_nodes(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """One burst: the window is long enough for it on any machine."""
    few = {"SOCKET_RATE_WINDOW_MS": "60000", "SOCKET_RATE_MAX": "30", "CHAT_RATE_MAX": "6"}
    async with open_fleet(domain, database_url, redis_url, tmp_path, few, ("hub", "api")) as fleet:
        counted = await limits.events(fleet, window_s=60, most=30, chat_most=6, bursts=1)
        counted += await limits.services(fleet)
    assert [str(one) for one in counted if not one.exact] == []


async def test_what_is_said_in_a_room_is_said_once_while_a_node_dies(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    kinds = ("hub", "worker")
    async with open_fleet(domain, database_url, redis_url, tmp_path, live.SETTINGS, kinds) as fleet:
        result = await live.play(fleet, live.Plan(people=6, messages=2))
    assert result.right, str(result)


async def test_what_follows_from_an_event_follows_once(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    patience = {"RETRY_DELAY": "200", "RETRY_MAX_DELAY": "2000"}
    async with open_fleet(
        domain, database_url, redis_url, tmp_path, patience, ("api", "worker"), quick_worker.main
    ) as fleet:
        seen = await effects.tell(fleet, stories=2, kills=2, seed=1)
    assert not seen.wrong, seen
