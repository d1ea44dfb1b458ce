from datetime import UTC, datetime, timedelta, timezone

from hub.plumbing.life.clock import SystemClock, VirtualClock, epoch_ms
from protocol.payload import iso


def test_the_system_clock_knows_its_time_zone() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


def test_the_virtual_clock_moves_only_when_it_is_moved() -> None:
    clock = VirtualClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert clock.now() == clock.now() == datetime(2026, 3, 1, tzinfo=UTC)
    assert clock.advance(90) == clock.now() == datetime(2026, 3, 1, 0, 1, 30, tzinfo=UTC)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    seoul = timezone(timedelta(hours=9))
    at = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=seoul)
    assert iso(at) == "2026-03-01T00:00:00.123Z"
    assert epoch_ms(at) == 1772323200123
