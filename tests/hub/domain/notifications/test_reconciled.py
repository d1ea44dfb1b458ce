"""Zulip's check, for the inbox: events applied to a stale copy give what a fresh fetch gives."""

import pytest

from tests.hub.domain.notifications.household import live
from tests.hub.domain.questions.town import Town


@pytest.mark.parametrize("seed", range(3))
async def test_copies_on_several_devices_become_what_a_fresh_fetch_gives(
    town: Town, seed: int
) -> None:
    home = await live(town.d, town.clock, seed)
    assert all(device.copy.applied > 0 and device.copy.syncs > 0 for device in home.devices)
