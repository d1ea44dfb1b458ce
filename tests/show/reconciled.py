"""Zulip's check for the inbox, over many seeds: a device's copy becomes what a fetch gives."""

from datetime import UTC, datetime

from hub.plumbing.life.clock import VirtualClock
from tests.hub.domain.notifications.household import live
from tests.show import Verdict
from tests.show.installed import installation

SEEDS = 100


async def copies() -> Verdict:
    """A seed whose copies differ raises, and its number stands in the figures."""
    clock = VirtualClock(datetime.now(UTC))
    applied = synced = compared = steps = 0
    async with installation(clock) as d:
        for seed in range(SEEDS):
            try:
                home = await live(d, clock, seed)
            except AssertionError as unlike:
                return Verdict(False, f"seed {seed}: {str(unlike)[:200]}")
            copies = [device.copy for device in home.devices]
            applied += sum(copy.applied for copy in copies)
            synced += sum(copy.syncs for copy in copies)
            compared += home.compared
            steps += home.steps
    figures = f"{SEEDS} seeds, {steps} steps, {applied} events applied, {synced} syncs"
    return Verdict(compared > 0, f"{figures}, {compared} rows compared: differences 0")
