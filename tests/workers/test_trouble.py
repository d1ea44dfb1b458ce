"""What stays away for longer: a provider, Postgres, Redis; and two workers at the same jobs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from hub.domain import intake
from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.people.sessions import ALL_SCOPES, Service
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.embedded import Postgres, Valkey
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import migrate
from protocol.domain_events import Envelope, UserUpdated
from protocol.rest.questions import Ask
from tests import verbs
from tests.conftest import FLAVOUR
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.workers.conftest import Shift, add_person, deliveries, notify
from tests.workers.test_runner import held, idle, until
from workers.channels.provider import open_providers
from workers.runner import run_worker

SERVICE = Service("qa", frozenset(ALL_SCOPES), ("",), ("*",), 1000, 10000)
HERE = (33.4895, 126.4935)


async def start(life: Lifecycle, environ: Mapping[str, str], **changes: str) -> Domain:
    """A worker in this process, with other settings than the rest."""
    settings = Settings.load({**environ, **changes})
    domain = await open_domain(life, settings)
    await run_worker(life, settings, domain, await open_providers(life, settings.channels))
    return domain


def is_met(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return condition()

    return ask


async def test_while_a_breaker_is_open_jobs_wait_and_lose_no_try(
    life: Lifecycle, environ: dict[str, str], fcm: FakeFcm
) -> None:
    d = await start(life, environ, BREAKER_ERRORS="2", BREAKER_RESET="1500")
    for name in ("a", "b", "c"):
        await add_person(d, name)
    fcm.arm(Fault("send", "answer", status=503, times=2))
    await notify(d, "a")
    await until(is_met(lambda: fcm.sends == 2))
    await notify(d, "b")
    await notify(d, "c")
    await asyncio.sleep(0.5)
    assert fcm.sends == 2, "an open breaker asks nobody"
    tries = await d.pool.fetch(
        "SELECT attempts FROM pgqueuer WHERE entrypoint LIKE 'notification:%' ORDER BY id"
    )
    assert [row["attempts"] for row in tries][-2:] == [0, 0]
    await fcm.wait(lambda: len(fcm.received) == 3, 8)
    await until(lambda: idle(d))
    assert await deliveries(d, "push") == [("push", "sent", None)] * 3


async def test_an_urgent_push_does_not_wait_for_a_breaker_longer_than_15_s(
    life: Lifecycle, environ: dict[str, str], fcm: FakeFcm
) -> None:
    d = await start(life, environ, BREAKER_ERRORS="1", BREAKER_RESET="30000")
    await add_person(d, "a")
    await add_person(d, "b")
    fcm.arm(Fault("send", "answer", status=503))
    await notify(d, "a")
    await until(is_met(lambda: fcm.sends == 1))
    await notify(d, "b", kind=QUESTION_URGENT.name)

    async def withheld() -> bool:
        return ("push", "suppressed", "breaker_open") in await deliveries(d, "push")

    await until(withheld)
    assert fcm.sends == 1

    async def looked_at_again() -> bool:
        """The email still comes at its time; the job for it follows in a change of its own."""
        checks: int = await d.pool.fetchval(
            "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'unseen-check'"
        )
        return checks == 1

    await until(looked_at_again)


async def test_two_workers_at_the_same_jobs_send_each_push_once(
    life: Lifecycle, environ: dict[str, str], fcm: FakeFcm
) -> None:
    patient = {"PUSH_TIMEOUT": "9000"}  # who gave up would rightly push again
    d = await start(life, environ, **patient)
    await start(life, environ, **patient)
    people = [f"person-{number}" for number in range(40)]
    for name in people:
        await add_person(d, name)
    await asyncio.gather(*(notify(d, name) for name in people))
    await fcm.wait(lambda: len(fcm.received) >= len(people), 15)
    await until(lambda: idle(d))
    assert sorted(m["token"] for m in fcm.received) == sorted(f"token-{n}-0" for n in people)


async def test_no_more_pushes_run_at_once_than_there_are_seats_and_the_urgent_go_first(
    life: Lifecycle, environ: dict[str, str], fcm: FakeFcm
) -> None:
    d = await start(life, environ, QUEUE_NOTIFICATION_CONCURRENCY="1", PUSH_TIMEOUT="9000")
    for name in ("a", "b", "urgent"):
        await add_person(d, name)
    fcm.arm(Fault("send", "hold"))
    await notify(d, "a")
    await fcm.wait_held(5)
    await notify(d, "b")
    await notify(d, "urgent", kind=QUESTION_URGENT.name)

    async def all_claimed() -> bool:
        claimed = (
            "SELECT count(*) FROM pgqueuer WHERE status = 'picked'"
            " AND entrypoint LIKE 'notification:%'"
        )
        return bool(await d.pool.fetchval(claimed) == 3)

    await until(all_claimed)
    assert fcm.sends == 1
    fcm.release()
    await fcm.wait(lambda: len(fcm.received) == 3, 5)
    assert [m["token"] for m in fcm.received] == ["token-a-0", "token-urgent-0", "token-b-0"]


async def test_postgres_is_started_anew_and_the_worker_goes_on(
    environ: dict[str, str], scratch: Path, fcm: FakeFcm
) -> None:
    server = Postgres(scratch / f"own-{uuid4().hex[:6]}", durable=False, prefer=FLAVOUR)
    url = await server.start()
    life = Lifecycle()
    try:
        conn = await asyncpg.connect(url)
        await migrate(conn)
        await conn.close()
        d = await start(life, environ, DATABASE_URL=url)
        await add_person(d, "bora")
        fcm.arm(Fault("send", "hold"))
        await notify(d, "bora")
        await fcm.wait_held(5)
        await server.stop()
        fcm.release()  # the answer comes while nobody can write it down
        await asyncio.sleep(1)
        await server.start()
        await until(lambda: _notified(d, "bora"), 20)
        await fcm.wait(lambda: len(fcm.received) >= 2, 20)
        await until(lambda: _all_sent(d), 20)
        assert len(fcm.received) <= 3, "once more at most, with the same collapse id"
        assert not life.failed
    finally:
        await life.close()
        await server.stop()


async def _notified(d: Domain, user_id: str) -> bool:
    try:
        await notify(d, user_id)
    except Exception:
        return False
    return True


async def _all_sent(d: Domain) -> bool:
    return {status for _, status, _ in await deliveries(d, "push")} == {"sent"}


@pytest.fixture
async def own_valkey(scratch: Path) -> Valkey:
    return Valkey(scratch / f"redis-{uuid4().hex[:6]}", durable=False, prefer=FLAVOUR)


async def test_while_redis_is_away_a_wave_is_ranked_and_pushed_all_the_same(
    environ: dict[str, str], own_valkey: Valkey, fcm: FakeFcm
) -> None:
    url = await own_valkey.start()
    life = Lifecycle()
    try:
        d = await start(life, environ, REDIS_URL=url)
        await _local(d, "bora")
        await own_valkey.stop()
        await verbs.ask(d, "mina", _pharmacy())
        message = await fcm.next_message(20)
        assert message["token"] == "token-bora-0"
        assert await held(d) == []
        assert not await _published(d), "the sockets hear of it when Redis is back"
        await own_valkey.start()
        await until(lambda: _published(d), 10)
    finally:
        await life.close()
        await own_valkey.stop()


async def _published(d: Domain) -> bool:
    return not await d.pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")


async def _local(d: Domain, user_id: str) -> None:
    await add_person(d, user_id)
    async with d.outbox.change() as change:
        await members.update(
            d,
            change,
            UserUpdated(user_id=user_id, is_local_verified=True, location_consent_at=d.now()),
        )
    await verbs.locate(d, user_id, *HERE, 20)


def _pharmacy() -> Ask:
    return Ask(
        title="문 연 약국 있나요?",
        content="지금 연동에서 문을 연 약국을 찾아요.",
        urgency="urgent",
        lat=HERE[0],
        lng=HERE[1],
    )


async def test_an_urgent_question_wakes_who_is_near_and_its_answer_ends_it(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    await _local(d, "bora")
    question = await verbs.ask(d, "mina", _pharmacy())
    await shift.advance()
    (message,) = fcm.received
    data, android = message["message"]["data"], message["message"]["android"]
    assert data["questionId"] == question.id
    assert data["url"] == f"https://dongne.example/questions/{question.id}"
    assert android["collapse_key"] == question.id
    assert android["ttl"] == "600s"
    assert "33.4" not in str(message["message"]), "no coordinates leave"
    await verbs.close(d, "mina", question.id)
    await shift.advance(600)
    assert await deliveries(d, "email") == [("email", "suppressed", "closed")]


async def test_an_event_is_tried_five_times_in_all_and_then_keeps_its_error(
    shift: Shift,
) -> None:
    d = shift.desk.domain
    id = uuid4()
    payload = {"answerId": "a-1", "questionId": "q-9", "answererId": "bora", "questionerId": "mina"}
    event = Envelope(
        event_id=id,
        event_type="answer.created",
        occurred_at=d.now(),
        payload={**payload, "excerpt": "여기요"},
    )
    await intake.accept(d, SERVICE, [event])
    await shift.advance(60)
    row = await d.pool.fetchrow("SELECT * FROM inbox_events")
    assert row is not None
    assert row["attempts"] == 5
    assert row["processed_at"] is None
    assert row["error"].startswith("NOT_FOUND")
    assert shift.ran == ["event"] * 4
