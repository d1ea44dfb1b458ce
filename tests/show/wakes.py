"""Urgent questions to a thousand people, while sockets, workers and providers fail."""

import os

from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests.conftest import SECRETS
from tests.show import Verdict
from tests.show.stores import fresh_stores
from tests.stories.wakes.findings import look
from tests.stories.wakes.story import FULL, tell


async def all_at_once() -> Verdict:
    """SEED=… for another course of events."""
    seed = int(os.environ.get("SEED", "12"))
    async with fresh_stores() as stores:
        env = {"DATABASE_URL": stores.database_url, "REDIS_URL": stores.redis_url}
        life = Lifecycle()
        domain = await open_domain(life, Settings.load({"APP_ENV": "test", **env, **SECRETS}))
        async with tell(FULL, seed, domain, *stores) as told:
            found = await look(told)
        await life.close()
    figures = "; ".join([f"seed {seed}", *found.figures])
    wrong = "".join(f"{sentence}; " for sentence in found.wrong)
    return Verdict(not found.wrong, wrong + figures)
