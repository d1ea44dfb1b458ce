"""The digest goes once a local day, whatever the clocks of SCHEDULER_TZ do."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from hub.domain import digest
from hub.domain.assembly import open_domain
from hub.domain.people import members
from hub.plumbing.life.clock import VirtualClock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import ensure_partitions
from protocol.domain_events import UserUpdated
from protocol.rest.questions import Ask
from tests import verbs
from workers.schedules import next_after

DAYS = 3
TIMES = ("0 9 * * *", "30 1 * * *", "15 2 * * *")
"""The real one, and those that a change leaves out or brings twice."""


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Europe/Berlin", "2026-03-28"),
        ("Europe/Berlin", "2026-10-24"),
        ("America/New_York", "2026-03-07"),
        ("America/New_York", "2026-10-31"),
        ("Australia/Lord_Howe", "2026-10-03"),
        ("Australia/Lord_Howe", "2026-04-04"),
    ],
)
async def test_a_person_gets_one_a_local_day(
    life: Lifecycle, settings: Settings, zone: str, first: str
) -> None:
    clock = VirtualClock()
    d = await open_domain(life, settings, clock)
    async with d.outbox.change() as change:
        reader = UserUpdated(user_id="bora", nickname="bora", email="bora@example.org")
        await members.update(d, change, reader)
    await verbs.ask(d, "mina", Ask(title="비?", content="오나요?"))
    days = [date.fromisoformat(first) + timedelta(days=n) for n in range(DAYS)]
    async with d.pool.acquire() as conn:
        await ensure_partitions(conn, midnight(days[0], "UTC"))
    for cron in TIMES:
        await d.pool.execute("DELETE FROM notification_dedup")
        clock.advance((midnight(days[0], zone) - clock.now()).total_seconds())
        firing = next_after(cron, zone, clock.now() - timedelta(seconds=1))
        told = list[date]()
        while (day := firing.astimezone(ZoneInfo(zone)).date()) <= days[-1]:
            clock.advance((firing - clock.now()).total_seconds())
            await d.pool.execute("UPDATE questions SET created_at = $1", firing)
            told += [day] * await digest.send(d, day)
            firing = next_after(cron, zone, firing)
        assert told == days, cron


def midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, datetime.min.time(), ZoneInfo(zone)).astimezone(UTC)
