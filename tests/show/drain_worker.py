"""Two programs that drain the queue: a worker of ours whose provider answers at once, and the job
engine by itself, whose jobs do nothing.
"""

import asyncio
import os
import sys
from datetime import timedelta
from functools import partial
from uuid import uuid4

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job

from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle, run
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry import logs
from workers.channels.breaker import Breaker
from workers.channels.message import Message, Recipient
from workers.channels.outcome import Outcome, Sent
from workers.channels.provider import Provider, Providers
from workers.channels.table import PROVIDERS
from workers.runner import run_worker

RAW = "raw"
RAW_BATCH = 100


class AtOnce:
    """A provider that takes everything over before one can blink, and counts it."""

    def __init__(self) -> None:
        self.sends = 0

    async def send(self, to: Recipient, message: Message) -> Outcome:
        self.sends += 1
        return Sent(str(uuid4()))

    async def close(self) -> None:
        return None


async def open_worker(life: Lifecycle, settings: Settings) -> None:
    domain = await open_domain(life, settings)
    await run_worker(life, settings, domain, providers(AtOnce()))
    print("ready", flush=True)


def providers(sender: AtOnce) -> Providers:
    row = next(row for row in PROVIDERS if row.name == "fcm")
    return Providers([Provider(row, sender, Breaker("fcm", 5, 30.0), 10.0)])


def ours() -> None:
    settings = Settings.load(os.environ)
    logs.configure(settings)
    sys.exit(run(partial(open_worker, settings=settings), settings))


async def _raw() -> None:
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    engine = PgQueuer.from_asyncpg_connection(conn)

    @engine.entrypoint(RAW)
    async def nothing(job: Job) -> None:
        return None

    print("ready", flush=True)
    await engine.run(
        dequeue_timeout=timedelta(seconds=5),
        batch_size=RAW_BATCH,
        max_concurrent_tasks=2 * RAW_BATCH,
    )


def raw() -> None:
    uvloop.install()
    asyncio.run(_raw())
