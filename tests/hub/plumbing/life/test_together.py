"""Many who ask at once are served together, and one cannot fail the others."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from hub.plumbing.life.together import Together


class Kitchen:
    """Doubles numbers; 13 cannot be done, and while it is `closed` nobody is served."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.closed = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def work(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.go_on.wait()
        if self.closed:
            raise ConnectionError
        if 13 in numbers:
            raise ValueError
        return [2 * number for number in numbers]


def concerns_all(error: Exception) -> bool:
    return isinstance(error, ConnectionError)


async def test_who_comes_at_once_is_served_at_once_and_so_many_at_a_time() -> None:
    kitchen = Kitchen()
    together = Together(kitchen.work, concerns_all, most=3)
    assert await asyncio.gather(*map(together, range(5))) == [0, 2, 4, 6, 8]
    assert kitchen.batches == [[0, 1, 2], [3, 4]]
    assert await together(7) == 14


async def test_one_that_cannot_be_done_fails_alone() -> None:
    kitchen = Kitchen()
    together = Together(kitchen.work, concerns_all)
    results = await asyncio.gather(*map(together, (1, 13, 2)), return_exceptions=True)
    assert (results[0], type(results[1]), results[2]) == (2, ValueError, 4)
    assert kitchen.batches == [[1, 13, 2], [1], [13], [2]]


async def test_what_concerns_all_is_tried_once() -> None:
    kitchen = Kitchen()
    kitchen.closed = True
    together = Together(kitchen.work, concerns_all)
    results = await asyncio.gather(*map(together, (1, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionError] * 2
    assert kitchen.batches == [[1, 2]]
    kitchen.closed = False
    assert await together(3) == 6


async def test_who_has_gone_takes_nobody_along() -> None:
    kitchen = Kitchen()
    kitchen.go_on.clear()
    together = Together(kitchen.work, concerns_all)
    served, gone = (asyncio.create_task(together(number)) for number in (1, 2))
    await asyncio.sleep(0)
    late, also_gone = (asyncio.create_task(together(number)) for number in (3, 4))
    await asyncio.sleep(0)
    gone.cancel()
    also_gone.cancel()
    await asyncio.wait([gone, also_gone])
    kitchen.go_on.set()
    assert (await served, await late) == (2, 6)
    assert kitchen.batches == [[1, 2], [3]]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_who_comes_while_the_rest_of_a_call_is_under_way_is_served_beside_it() -> None:
    begun: list[int] = []
    rests = {number: asyncio.Event() for number in range(1, 5)}

    async def work(numbers: Sequence[int]) -> Sequence[int]:
        begun.append(*numbers)
        if numbers[0] != 2:  # the second one says nothing
            together.go_on()
        await rests[numbers[0]].wait()
        return numbers

    together = Together(work, concerns_all, most=1, beside=1)
    tasks = [asyncio.create_task(together(number)) for number in range(1, 5)]
    await until(lambda: begun == [1, 2])
    rests[2].set()
    assert await tasks[1] == 2
    await until(lambda: begun == [1, 2, 3])
    for _ in range(10):
        await asyncio.sleep(0)
    assert begun == [1, 2, 3], "one at most is beside the last one"
    rests[1].set()
    await until(lambda: begun == [1, 2, 3, 4])
    rests[3].set()
    rests[4].set()
    assert await asyncio.gather(*tasks) == [1, 2, 3, 4]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0)
