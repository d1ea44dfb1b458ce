"""States that last: told when they begin, then with growing pauses, and when they end.

A loop that tries again each second, or ten thousand sockets that meet one outage, would write one
line ten thousand times; and a line that never comes again leaves open whether it is over.
"""

import time
from collections.abc import Callable
from typing import Any, Final

FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 600.0
"""Pauses between two lines of one state double from the first to the longest."""

SETTLED_S: Final = 5.0
"""A state that comes back sooner than so after its end flickers: nothing is told until then."""


class Lasting:
    """One state of one process, at level warn: in production, too, its end is heard.

    `alarm`: somebody has to do something, so it begins, and goes on, at level error.

    `log` is a logger of structlog; `begins` and `ends` are the fixed sentences. Call `seen` each
    time the state is met and `over` each time it is not; both may be called as often as one likes.
    """

    def __init__(
        self,
        log: Any,
        begins: str,
        ends: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        alarm: bool = False,
    ) -> None:
        self._log = log
        self._tell = log.error if alarm else log.warning
        self._begins = begins
        self._ends = ends
        self._clock = clock
        self._since: float | None = None
        self._told = False
        self._times = 0
        self._pause_s = FIRST_PAUSE_S
        self._next = 0.0

    def seen(self, **fields: Any) -> None:
        """`fields` go into the line, where one is written."""
        now = self._clock()
        if self._since is None:
            self._since, self._times, self._pause_s = now, 0, FIRST_PAUSE_S
        self._times += 1
        if now < self._next:
            return
        more = {"lastsS": round(now - self._since, 1), "times": self._times} if self._told else {}
        self._told = True
        self._next = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._tell(self._begins, **fields, **more)

    def over(self, **fields: Any) -> None:
        if self._since is None:
            return
        now = self._clock()
        lasted, self._since = now - self._since, None
        if self._told:
            self._told = False
            self._next = now + SETTLED_S
            self._log.warning(self._ends, lastedS=round(lasted, 1), times=self._times, **fields)
