"""The short form of `make show WHAT=faults ITEM=3`: the cheapest attacks on a real process."""

import os

import pytest

from tests.show.attacks import attacked, hub

FULL = os.environ.get("STORIES") == "full"
SECONDS = 5.0 if FULL else 1.0
PATIENCE = 1 if FULL else 10
"""Beside other tests times say little: so many times the figures of the list."""


@pytest.mark.story
@pytest.mark.fault(24, 26)
async def test_a_hub_answers_while_it_is_attacked(database_url: str, redis_url: str) -> None:
    async with hub({"DATABASE_URL": database_url, "REDIS_URL": redis_url}) as door:
        for name in ("24 connects", "26"):
            seen = await attacked(door, name, SECONDS)
            assert seen.faults_of(50.0 * PATIENCE, 200.0 * PATIENCE) == [], (name, str(seen))
