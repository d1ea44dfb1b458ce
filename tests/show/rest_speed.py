"""What REST costs as it is shipped, beside the least that could answer the same."""

from typing import Final

from tests.benchmarks.rest import Measured, cached_list, inbox_page
from tests.show import Verdict

REPS, SECONDS = 3, 3.0
OF_AIOHTTP: Final = 0.5
OF_QUERY: Final = 0.5


def _verdict(ours: Measured, bare: Measured, least: float) -> Verdict:
    share = ours.rate / bare.rate
    figures = (
        f"{ours.rate:.0f} a second and {ours.cpu:.0f} us of CPU each, beside {bare.rate:.0f} and"
        f" {bare.cpu:.0f} us: {share:.2f} of its rate, {bare.cpu / ours.cpu:.2f} by CPU;"
        f" at least {least}"
    )
    return Verdict(share >= least, figures)


async def list_beside_aiohttp() -> Verdict:
    return _verdict(*await cached_list(REPS, SECONDS), OF_AIOHTTP)


async def inbox_beside_its_query() -> Verdict:
    return _verdict(*await inbox_page(REPS, SECONDS), OF_QUERY)
