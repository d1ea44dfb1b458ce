"""Quiet hours on the clocks of three zones, over both changes of daylight saving."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.rules.quiet import HOME, QuietHours, zone_of

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
"""The last one changes its clocks by half an hour."""

SECOND = timedelta(seconds=1)


def quiet(begin: str, end: str, zone: str) -> QuietHours:
    return QuietHours(time.fromisoformat(begin), time.fromisoformat(end), ZoneInfo(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "begin", "end", "begins", "ends"),
    [
        ("Asia/Seoul", "22:00", "07:00", "2026-03-28 13:00", "2026-03-28 22:00"),
        ("Asia/Seoul", "13:00", "14:30", "2026-03-28 04:00", "2026-03-28 05:30"),
        # clocks forward: the night is an hour (half an hour) shorter
        (BERLIN, "22:00", "07:00", "2026-03-28 21:00", "2026-03-29 05:00"),
        (NEW_YORK, "23:00", "07:00", "2026-03-08 04:00", "2026-03-08 11:00"),
        (LORD_HOWE, "22:00", "07:00", "2026-10-03 11:30", "2026-10-03 20:00"),
        # clocks back: it is as much longer
        (BERLIN, "22:00", "07:00", "2026-10-24 20:00", "2026-10-25 06:00"),
        (NEW_YORK, "23:00", "07:00", "2026-11-01 03:00", "2026-11-01 12:00"),
        (LORD_HOWE, "22:00", "07:00", "2026-04-04 11:00", "2026-04-04 20:30"),
        # a time that is left out comes with the jump
        (BERLIN, "01:00", "02:30", "2026-03-29 00:00", "2026-03-29 01:00"),
        (BERLIN, "02:30", "06:00", "2026-03-29 01:00", "2026-03-29 04:00"),
        (NEW_YORK, "00:00", "02:30", "2026-03-08 05:00", "2026-03-08 07:00"),
        (LORD_HOWE, "02:15", "03:00", "2026-10-03 15:30", "2026-10-03 16:00"),
        # of one that comes twice quiet begins with the first and ends with the second
        (BERLIN, "02:30", "06:00", "2026-10-25 00:30", "2026-10-25 05:00"),
        (BERLIN, "01:00", "02:30", "2026-10-24 23:00", "2026-10-25 01:30"),
        (NEW_YORK, "00:00", "01:30", "2026-11-01 04:00", "2026-11-01 06:30"),
        (LORD_HOWE, "01:00", "01:45", "2026-04-04 14:00", "2026-04-04 15:15"),
    ],
)
def test_it_is_quiet_from_one_moment_to_the_other(
    zone: str, begin: str, end: str, begins: str, ends: str
) -> None:
    hours, first, over = quiet(begin, end, zone), utc(begins), utc(ends)
    assert hours.until(first - SECOND) is None
    assert hours.until(first) == over
    assert hours.until(over - SECOND) == over
    assert hours.until(over) is None


def test_both_times_in_the_hour_that_is_left_out_make_no_quiet() -> None:
    hours = quiet("02:10", "02:50", BERLIN)
    start = utc("2026-03-28 23:00")
    assert not any(hours.until(start + timedelta(minutes=n)) for n in range(24 * 60))


def test_a_person_who_moves_has_quiet_where_they_are() -> None:
    now = utc("2026-07-01 14:30")  # 23:30 in Seoul, 16:30 in Berlin, 10:30 in New York
    assert quiet("22:00", "07:00", "Asia/Seoul").until(now) == utc("2026-07-01 22:00")
    assert quiet("22:00", "07:00", BERLIN).until(now) is None
    assert quiet("22:00", "07:00", NEW_YORK).until(now) is None
    later = utc("2026-07-01 22:30")  # 07:30, 00:30, 18:30
    assert quiet("22:00", "07:00", "Asia/Seoul").until(later) is None
    assert quiet("22:00", "07:00", BERLIN).until(later) == utc("2026-07-02 05:00")


def test_a_zone_that_nobody_knows_is_that_of_korea() -> None:
    assert zone_of("Mars/Olympus") == zone_of(None) == HOME
    assert zone_of(BERLIN) == ZoneInfo(BERLIN)


minutes = st.integers(0, 24 * 60 - 1)


@given(
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "Asia/Seoul", "Pacific/Apia"]),
    st.tuples(minutes, minutes).filter(lambda two: two[0] != two[1]),
    st.integers(0, 366 * 24 * 60).map(lambda n: utc("2026-01-01") + timedelta(minutes=n)),
)
def test_property_quiet_ends_after_now_and_within_a_day_and_a_bit(
    zone: str, two: tuple[int, int], now: datetime
) -> None:
    begin, end = (time(n // 60, n % 60) for n in two)
    hours = QuietHours(begin, end, ZoneInfo(zone))
    until = hours.until(now)
    if until is not None:
        assert now < until <= now + timedelta(hours=25)
        assert hours.until(until - SECOND) == until
        assert hours.until(until) is None
