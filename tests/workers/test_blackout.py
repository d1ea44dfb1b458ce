"""The short form of `make show WHAT=urgent ITEM=3`: a provider goes dark, nothing is late."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests.show.blackout import Dark, Plan, judged, people, play
from workers.channels.provider import open_providers
from workers.runner import run_worker

PLAN = Plan(pushes=60, dark_s=2.0, light_s=0.5, deadline_s=1.6, steps_a_second=20)


@pytest.fixture
async def fcm(tmp_path: Path) -> AsyncIterator[Dark]:
    async with Dark(tmp_path) as fake:
        yield fake


async def test_what_a_dark_provider_could_not_take_in_time_has_expired(
    life: Lifecycle, environ: dict[str, str], fcm: Dark
) -> None:
    patience = {"PUSH_TIMEOUT": "500", "BREAKER_ERRORS": "3", "BREAKER_RESET": "300"}
    settings = Settings.load(environ | patience)
    d = await open_domain(life, settings)
    await people(d, PLAN.pushes)
    await run_worker(life, settings, d, await open_providers(life, settings.channels))
    verdict = judged(PLAN, await play(d, fcm, PLAN))
    assert verdict.passed, verdict.figures
