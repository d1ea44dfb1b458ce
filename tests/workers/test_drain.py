"""The short form of `make show WHAT=urgent ITEM=speed.4`: many jobs at once, each done once."""

from collections import Counter

from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests.show.drain_worker import AtOnce, providers
from tests.show.draining import OURS, PEOPLE
from tests.workers.test_runner import idle, until
from workers.runner import run_worker

JOBS = 300


async def test_jobs_that_share_statements_are_each_done_once(
    life: Lifecycle, environ: dict[str, str]
) -> None:
    wide = {"QUEUE_NOTIFICATION_CONCURRENCY": "50", "QUEUE_NOTIFICATION_RATE": "100000"}
    settings = Settings.load(environ | wide)
    d, sender = await open_domain(life, settings), AtOnce()
    for statement in PEOPLE:
        await d.pool.execute(statement, JOBS)
    await d.pool.execute(OURS, JOBS)
    await run_worker(life, settings, d, providers(sender))
    await until(lambda: idle(d))
    assert sender.sends == JOBS
    rows = await d.pool.fetch("SELECT user_id, status, attempts FROM deliveries")
    assert Counter(row["user_id"] for row in rows).most_common(1)[0][1] == 1
    assert {(row["status"], row["attempts"]) for row in rows} == {("sent", 1)}
    decided = await d.pool.fetch("SELECT verdict, reason FROM decisions")
    assert Counter(map(tuple, decided)) == {("told", "no_live_socket"): JOBS}
    checks = await d.pool.fetch(
        "SELECT execute_after - created AS wait FROM pgqueuer WHERE entrypoint = 'unseen-check'"
    )
    assert len(checks) == JOBS, "the mail of each is looked at in its time"
    assert all(500 < row["wait"].total_seconds() <= 600 for row in checks)
