"""The heart on real stores, on a clock that stands still until it is moved."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from hub.domain.assembly import open_domain
from hub.plumbing.life.clock import VirtualClock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests.hub.domain.questions.town import Town


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    clock, life = VirtualClock(datetime.now(UTC)), Lifecycle()
    yield Town(await open_domain(life, settings, clock), clock)
    await life.close()
