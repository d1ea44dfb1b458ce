"""Seats of one process: how many may work at once, the most urgent first."""

import asyncio
import heapq
from itertools import count


class Seats:
    """Given to the highest priority first, then in order of arrival.

    The job engine's own limit counts what is claimed, over all workers and dead ones too, and
    knows no order among those who wait; this one counts who works here (S2-127).
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self.waiting = 0
        """How many would take a seat if there were one."""

    async def take(self, priority: int) -> None:
        """Wait for a seat; whoever took one calls `leave`. Cancelled, it holds none."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (-priority, next(self._arrivals), turn))
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self.waiting -= 1
            else:  # the seat was handed over in the same round of the loop
                self.leave()
            raise

    def leave(self) -> None:
        """Hand the seat to who waits first."""
        while self._line:
            _, _, turn = heapq.heappop(self._line)
            if not turn.done():
                self.waiting -= 1
                turn.set_result(None)
                return
        self._free += 1
