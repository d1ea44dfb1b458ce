"""Urgent questions to a thousand people, while sockets, workers and providers fail."""

import os

from tests.show import Verdict
from tests.show.stores import fresh_stores, heart_on
from tests.stories.wakes.findings import look
from tests.stories.wakes.story import FULL, tell


async def all_at_once() -> Verdict:
    """SEED=… for another course of events."""
    seed = int(os.environ.get("SEED", "12"))
    async with (
        fresh_stores() as stores,
        heart_on(stores) as domain,
        tell(FULL, seed, domain, *stores) as told,
    ):
        found = await look(told)
    figures = "; ".join([f"seed {seed}", *found.figures])
    wrong = "".join(f"{sentence}; " for sentence in found.wrong)
    return Verdict(not found.wrong, wrong + figures)
