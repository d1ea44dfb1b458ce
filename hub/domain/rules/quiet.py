"""Quiet hours: from one time on a wall to another, in the person's time zone of that day."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

HOME: Final = ZoneInfo("Asia/Seoul")
_DAY: Final = timedelta(days=1)


def zone_of(name: str | None) -> ZoneInfo:
    """A person's time zone; that of Korea for a name which the time zone database has not."""
    try:
        return ZoneInfo(name) if name else HOME
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return HOME


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `begin` to `end`, over midnight where `end` is the earlier one.

    A time that a change of daylight saving leaves out comes when the clocks jump over it. Of one
    that comes twice, quiet begins with the first and ends with the second.
    """

    begin: time
    end: time
    zone: ZoneInfo

    def until(self, now: datetime) -> datetime | None:
        """When they end (UTC), if it is quiet now."""
        today = now.astimezone(self.zone).date()
        for day in (today - _DAY, today):
            ends_on = day + _DAY if self.end < self.begin else day
            ends = self._moment(ends_on, self.end, fold=1)
            if self._moment(day, self.begin, fold=0) <= now < ends:
                return ends
        return None

    def _moment(self, day: date, at: time, *, fold: int) -> datetime:
        """When the wall's clock shows this time (UTC)."""
        early, late = (
            datetime.combine(day, at.replace(fold=one), self.zone).astimezone(UTC) for one in (0, 1)
        )
        if early > late:  # the clocks jump over it (PEP 495)
            return self._jump(late, early)
        return late if fold else early

    def _jump(self, before: datetime, after: datetime) -> datetime:
        """The second between the two in which the clocks change."""
        offset = before.astimezone(self.zone).utcoffset()

        def is_over(second: int) -> bool:
            then = before + timedelta(seconds=second)
            return then.astimezone(self.zone).utcoffset() != offset

        seconds = range(int((after - before).total_seconds()))
        return before + timedelta(seconds=bisect_left(seconds, True, key=is_over))
