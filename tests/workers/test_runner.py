"""The real runner on real time: claims, retries, holds, stops, and finds Postgres again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from hub.domain.context import Domain
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.outbox import enqueue
from hub.plumbing.telemetry.metrics import REGISTRY
from hub.plumbing.telemetry.trace import traced
from protocol.jobs import DeliveryJob, Job, delivery_job, event_job, unseen_check, wave_job
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.fakes.smtp import FakeSmtp
from tests.workers.conftest import add_person, deliveries, notify
from workers.channels.provider import Providers
from workers.runner import Pace, run_worker


@pytest.fixture
async def worker(
    life: Lifecycle, settings: Settings, domain: Domain, providers: Providers
) -> Domain:
    await run_worker(life, settings, domain, providers, Pace(poll_s=0.5))
    return domain


async def until(ask: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await ask():
            await asyncio.sleep(0.02)


async def idle(d: Domain) -> bool:
    """Nothing is due, nothing runs."""
    due = "status = 'picked' OR status = 'queued' AND execute_after <= now() + interval '2 s'"
    return not await d.pool.fetchval(f"SELECT count(*) FROM pgqueuer WHERE {due}")


async def held(d: Domain) -> list[str]:
    rows = await d.pool.fetch("SELECT entrypoint FROM pgqueuer WHERE status = 'failed'")
    return [row["entrypoint"] for row in rows]


def counted(queue: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("jobs_total", {"queue": queue, "outcome": outcome}) or 0.0


async def test_a_job_becomes_a_push_with_the_ids_of_its_request(
    worker: Domain, fcm: FakeFcm
) -> None:
    await add_person(worker, "bora")
    with traced({"X-Request-ID": "req-1", "X-B3-TraceId": "a" * 32}):
        await notify(worker, "bora")
    message = await fcm.next_message(5)
    assert message["headers"]["X-Request-ID"] == "req-1"
    assert message["headers"]["X-B3-TraceId"] == "a" * 32
    await until(lambda: idle(worker))
    assert await deliveries(worker) == [("push", "sent", None)]


async def test_a_provider_that_fails_for_a_while_is_tried_again_and_nothing_doubles(
    worker: Domain, fcm: FakeFcm
) -> None:
    await add_person(worker, "bora", devices=2)
    fcm.arm(Fault("send", "answer", status=503), Fault("send", "close"))
    await notify(worker, "bora")
    await fcm.wait(lambda: len(fcm.received) == 2, 5)
    await until(lambda: idle(worker))
    assert sorted(message["token"] for message in fcm.received) == ["token-bora-0", "token-bora-1"]
    assert await deliveries(worker) == [("push", "sent", None)] * 2


async def test_a_push_that_hangs_is_cut_off_and_tried_again(worker: Domain, fcm: FakeFcm) -> None:
    await add_person(worker, "bora")
    fcm.arm(Fault("send", "hang"))
    await notify(worker, "bora")
    await fcm.next_message(8)
    await until(lambda: idle(worker))
    assert await deliveries(worker) == [("push", "sent", None)]


async def test_after_its_tries_a_push_is_a_dead_letter_that_can_be_put_back(
    worker: Domain, fcm: FakeFcm
) -> None:
    await add_person(worker, "bora")
    before = counted("notification", "held")
    fcm.arm(Fault("send", "answer", status=500, times=3))
    await notify(worker, "bora")
    await until(lambda: _is(held(worker), ["notification:normal"]))
    assert fcm.sends == 3
    assert await deliveries(worker, "push") == [("push", "failed", None)]
    assert counted("notification", "held") == before + 1
    await worker.pool.execute(
        "UPDATE pgqueuer SET status = 'queued', attempts = 0, execute_after = now()"
        " WHERE status = 'failed'"
    )
    await fcm.next_message(8)
    await until(lambda: idle(worker))
    assert await deliveries(worker, "push") == [("push", "sent", None)]
    assert await held(worker) == []


async def _is(found: Awaitable[Any], wanted: Any) -> bool:
    return bool(await found == wanted)


async def test_a_dead_token_disables_its_device_and_is_not_tried_again(
    worker: Domain, fcm: FakeFcm
) -> None:
    dead, _alive = await add_person(worker, "bora", devices=2)
    fcm.unregistered.add(dead)
    await notify(worker, "bora")
    await fcm.next_message(5)
    await until(lambda: idle(worker))
    assert sorted(await deliveries(worker), key=str) == [
        ("push", "failed", "token_dead"),
        ("push", "sent", None),
    ]
    disabled = await worker.pool.fetch(
        "SELECT token, disabled_reason FROM devices WHERE disabled_at IS NOT NULL"
    )
    assert [tuple(row) for row in disabled] == [(dead, "token_dead")]
    assert fcm.sends == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault("rcpt", "answer", reply="451 4.3.0 try later"),
        Fault("data", "hang"),
        Fault("connect", "close"),
    ],
    ids=["refuses", "hangs", "closes"],
)
async def test_a_mail_server_in_trouble_costs_a_try_and_not_the_mail(
    worker: Domain, smtp: FakeSmtp, fault: Fault
) -> None:
    smtp.arm(fault)
    await add_person(worker, "bora", devices=0)
    await _mail_now(worker)
    mail = await smtp.next_message(8)
    assert mail["rcpt_to"] == ["bora@example.org"]
    await until(lambda: idle(worker))
    assert await deliveries(worker, "email") == [("email", "sent", None)]
    assert len(smtp.received) == 1


async def test_what_has_nothing_to_send_takes_nobody_elses_turn(
    life: Lifecycle,
    environ: dict[str, str],
    domain: Domain,
    providers: Providers,
    smtp: FakeSmtp,
) -> None:
    """Mails that were withheld while they waited: with a token each they would take 5 minutes."""
    d = domain
    nothing = [
        Job("email", DeliveryJob(notification_id=str(uuid4()), created_at=d.now()))
        for _ in range(30)
    ]
    async with d.outbox.change() as change:
        for job in nothing:
            change.enqueue(job)
    await add_person(d, "bora", devices=0)
    settings = Settings.load(environ | {"QUEUE_EMAIL_RATE": "10"})
    await run_worker(life, settings, d, providers, Pace(poll_s=0.5))
    await _mail_now(d)
    assert (await smtp.next_message(8))["rcpt_to"] == ["bora@example.org"]
    await until(lambda: idle(d))


async def test_a_mailbox_that_does_not_exist_is_suppressed(worker: Domain, smtp: FakeSmtp) -> None:
    smtp.arm(Fault("rcpt", "answer", reply="550 5.1.1 no such user"))
    await add_person(worker, "bora", devices=0)
    await _mail_now(worker)
    await until(
        lambda: _is(deliveries(worker, "email"), [("email", "failed", "address_suppressed")])
    )
    assert await worker.pool.fetchval("SELECT address FROM suppressions") == "bora@example.org"


async def test_a_mail_server_that_dies_and_comes_back_gets_the_mail_once(
    worker: Domain, smtp: FakeSmtp
) -> None:
    smtp.arm(Fault("data", "die"))
    await add_person(worker, "bora", devices=0)
    await _mail_now(worker)
    await asyncio.wait_for(smtp.dead.wait(), 5)
    await smtp.stop()
    await smtp.start()
    await smtp.next_message(8)
    await until(lambda: idle(worker))
    assert await deliveries(worker, "email") == [("email", "sent", None)]
    assert len(smtp.received) == 1


async def _mail_now(d: Domain) -> None:
    """A notification whose email is due: written ten minutes ago."""
    told = await notify(d, "bora", kind="answer_created")
    async with d.pool.acquire() as conn, conn.transaction():
        past = await conn.fetchval(
            "UPDATE notifications SET created_at = created_at - interval '11 min'"
            " WHERE id = $1 RETURNING created_at",
            told.id,
        )
        await enqueue(conn, [unseen_check(str(told.id), past, delay_s=0, urgent=False)])


async def test_an_unknown_queue_is_an_error_and_keeps_nothing(domain: Domain) -> None:
    job = Job("reports", DeliveryJob(notification_id=str(uuid4()), created_at=domain.now()))
    with pytest.raises(LookupError, match="Queue reports not found"):
        async with domain.outbox.change() as change:
            change.enqueue(job)
    assert await domain.pool.fetchval("SELECT count(*) FROM pgqueuer") == 0


async def test_a_payload_nobody_can_read_is_held_at_once(worker: Domain) -> None:
    await worker.pool.execute(
        "INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status)"
        " VALUES (0, 'email', 'no json', now(), 'queued')"
    )
    await until(lambda: _is(held(worker), ["email"]))
    assert (
        await worker.pool.fetchval("SELECT attempts FROM pgqueuer WHERE entrypoint = 'email'") == 1
    )


async def test_a_job_that_killed_its_worker_every_time_is_held(
    worker: Domain, fcm: FakeFcm
) -> None:
    """As it stands in the table after three deaths: begun three times, claimed, no heartbeat."""
    await add_person(worker, "bora")
    async with worker.pool.acquire() as conn, conn.transaction():
        await enqueue(conn, [event_job(str(uuid4()))])
        await conn.execute(
            "UPDATE pgqueuer SET attempts = 4, status = 'picked', queue_manager_id = $1,"
            " heartbeat = now() - interval '1 min', execute_after = now() - interval '1 min'",
            uuid4(),
        )
    before = counted("event", "redelivered")
    await until(lambda: _is(held(worker), ["event"]))
    assert counted("event", "redelivered") == before + 1


async def test_a_push_that_killed_its_worker_every_time_leaves_the_mail_its_turn(
    life: Lifecycle,
    settings: Settings,
    domain: Domain,
    providers: Providers,
    fcm: FakeFcm,
    smtp: FakeSmtp,
) -> None:
    d = domain
    await add_person(d, "bora")
    told = await notify(d, "bora")
    async with d.pool.acquire() as conn, conn.transaction():
        past = await conn.fetchval(
            "UPDATE notifications SET created_at = created_at - interval '11 min'"
            " WHERE id = $1 RETURNING created_at",
            told.id,
        )
        await conn.execute("DELETE FROM pgqueuer")
        await enqueue(conn, [delivery_job("push", str(told.id), past, urgent=False)])
        await conn.execute("UPDATE pgqueuer SET attempts = 3")
    await run_worker(life, settings, d, providers, Pace(poll_s=0.5))
    assert (await smtp.next_message(8))["rcpt_to"] == ["bora@example.org"]
    await until(lambda: idle(d))
    assert await deliveries(d) == [("email", "sent", None), ("push", "failed", None)]
    assert await held(d) == ["notification:normal"]
    assert fcm.received == []
    why = await d.pool.fetchval("SELECT reason FROM decisions WHERE verdict = 'failed'")
    assert why == "given_up"


async def test_what_a_wave_does_goes_before_what_its_people_wait_for(
    life: Lifecycle, settings: Settings, domain: Domain, providers: Providers
) -> None:
    d = domain
    checks = [unseen_check(str(uuid4()), d.now(), delay_s=0, urgent=True) for _ in range(500)]
    async with d.outbox.change() as change:
        change.enqueue(*checks, wave_job("nobody-asked", 1))
    await d.pool.execute(
        "CREATE TABLE ended (n serial, entrypoint text);"
        " CREATE FUNCTION ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  INSERT INTO ended (entrypoint) VALUES (OLD.entrypoint); RETURN NULL; END $$;"
        " CREATE TRIGGER ended AFTER DELETE ON pgqueuer FOR EACH ROW EXECUTE FUNCTION ended();"
    )
    await run_worker(life, settings, d, providers, Pace(poll_s=0.5))
    await until(lambda: idle(d))
    place = await d.pool.fetchval("SELECT min(n) FROM ended WHERE entrypoint = 'urgent-wave'")
    assert place <= 200, "in the first batch that ended"


async def test_stopping_finishes_what_runs_and_gives_back_what_waits(
    settings: Settings, fcm: FakeFcm, domain: Domain, providers: Providers
) -> None:
    life = Lifecycle()
    await add_person(domain, "bora")
    fcm.arm(Fault("send", "hold"))
    await run_worker(life, settings, domain, providers)
    await notify(domain, "bora")
    await fcm.wait_held(5)
    stopping = asyncio.create_task(life.close())
    await asyncio.sleep(0)
    await notify(domain, "bora")
    fcm.release()
    await asyncio.wait_for(stopping, 10)
    assert not life.failed
    rows = await domain.pool.fetch(
        "SELECT entrypoint, status, attempts FROM pgqueuer"
        " WHERE entrypoint IN ('first-look', 'notification:urgent', 'notification:normal')"
    )
    assert [tuple(row) for row in rows] == [("first-look", "queued", 0)]
    statuses = await deliveries(domain, "push")
    assert statuses == [("push", "sent", None)]


async def test_what_does_not_finish_in_time_is_given_back_without_losing_a_try(
    environ: dict[str, str], fcm: FakeFcm, domain: Domain, providers: Providers
) -> None:
    settings = Settings.load(environ | {"SHUTDOWN_TIMEOUT": "4200", "PUSH_TIMEOUT": "9000"})
    object.__setattr__(providers.named("fcm").sender, "_timeout_s", 9.0)
    life = Lifecycle()
    await add_person(domain, "bora")
    fcm.arm(Fault("send", "hang"))
    await run_worker(life, settings, domain, providers)
    await notify(domain, "bora")
    await until(lambda: _true(fcm.sends == 1))
    await asyncio.wait_for(life.close(), 4)
    rows = await domain.pool.fetch(
        "SELECT status, attempts FROM pgqueuer WHERE entrypoint LIKE 'notification:%'"
    )
    assert [tuple(row) for row in rows] == [("queued", 0)]


async def _true(value: bool) -> bool:
    return value


async def test_a_lost_connection_is_opened_again_and_its_jobs_go_on(
    worker: Domain, fcm: FakeFcm, database_url: str
) -> None:
    await add_person(worker, "bora")
    fcm.arm(Fault("send", "hold"))
    await notify(worker, "bora")
    await fcm.wait_held(5)
    conn = await asyncpg.connect(database_url)
    cut = await conn.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'dongne-worker' AND datname = current_database()"
    )
    await conn.close()
    assert len(cut) == 1
    fcm.release()
    await until(lambda: idle(worker))
    await notify(worker, "bora", kind=QUESTION_URGENT.name)
    await fcm.wait(lambda: len(fcm.received) == 2, 8)
    await until(lambda: idle(worker))
    assert await deliveries(worker, "push") == [("push", "sent", None)] * 2
