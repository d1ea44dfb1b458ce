"""Many who ask for the same thing at once are served by one call of a function for many."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Calls `work` for all who came while it was away for others, `most` at a time: whoever comes
    alone does not wait, and the more there are the less each of them costs.

    What fails for many is done for each by itself, so that one cannot fail the others; unless
    `concerns_all` says that the error has nothing to do with any of them. `work` runs in a context
    of its own (whose trace would it be in?), and goes on when a caller is cancelled.

    Once `work` has said `go_on`, those who came meanwhile are served beside what it still does, if
    no more than `beside` calls are in that state already.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        concerns_all: Callable[[Exception], bool],
        most: int = 200,
        beside: int = 1,
    ) -> None:
        self._work = work
        self._concerns_all = concerns_all
        self._most = most
        self._beside = beside
        self._under_way: set[asyncio.Task[None]] = set()
        self._next: asyncio.Future[None] | None = None
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The answer for one. Raises what `work` raises for it."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        return await answer

    def go_on(self) -> None:
        """What `work` says, of the call that was begun last, when nobody need wait for its rest."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    def _ended(self, was_next: "asyncio.Future[None]", task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not was_next.done():
            was_next.set_result(None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._next = may_go_on = loop.create_future()
                task = loop.create_task(self._serve([one for one in batch if not one[1].done()]))
                self._under_way.add(task)
                task.add_done_callback(partial(self._ended, may_go_on))
                await may_go_on
                while len(self._under_way) > self._beside:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._task = None
            for _, answer in self._waiting:  # only when this task itself is cancelled
                answer.cancel()
            self._waiting.clear()

    async def _serve(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        if not batch:
            return
        try:
            results = await self._work([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        except Exception as error:
            if len(batch) > 1 and not self._concerns_all(error):
                for one in batch:
                    await self._serve([one])
                return
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            if not answer.done():
                answer.set_result(result)
