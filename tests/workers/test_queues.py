"""Dead letters: listed, put back once, by command and by function."""

import asyncio
from uuid import uuid4

import pytest

from hub.commands.queues import requeue_command
from hub.domain import intake, queues
from hub.domain.context import Domain
from hub.plumbing.settings.settings import Settings
from protocol.domain_events import Envelope
from protocol.errors import Code, HubError
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.workers.conftest import Shift, add_person, deliveries, notify
from tests.workers.test_runner import held, idle, until, worker  # noqa: F401 - a fixture
from tests.workers.test_trouble import SERVICE


async def dead_push(d: Domain, fcm: FakeFcm) -> queues.DeadLetter:
    await add_person(d, "bora")
    fcm.arm(Fault("send", "answer", status=500, times=3))
    await notify(d, "bora")
    async with asyncio.timeout(10):
        while not (letters := await queues.dead_letters(d)):
            await asyncio.sleep(0.02)
    return letters[0]


async def test_a_dead_letter_says_why_and_goes_back_with_all_its_tries(
    worker: Domain,  # noqa: F811
    fcm: FakeFcm,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    letter = await dead_push(worker, fcm)
    assert (letter.queue, letter.job) == ("notification", "notification:normal")
    assert (letter.tries, letter.error) == (3, "http_500")
    depth = {one.queue: one for one in await queues.depths(worker)}
    assert (depth["notification"].held, depth["email"].held) == (1, 0)
    assert await queues.dead_letters(worker, "email") == []
    assert await queues.dead_letters(worker, after=letter.id) == []
    assert await requeue_command(settings, "list", "", None) == 0
    assert f"{letter.id}  notification:normal" in capsys.readouterr().out
    assert await requeue_command(settings, "job", str(letter.id), "notification") == 0
    assert "is queued again" in capsys.readouterr().out
    await fcm.next_message(8)
    await until(lambda: idle(worker))
    assert await deliveries(worker, "push") == [("push", "sent", None)]
    assert await held(worker) == []


async def test_of_two_who_put_a_job_back_one_is_told(domain: Domain) -> None:
    await domain.pool.execute(
        "INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status)"
        " VALUES (0, 'email', '{}', now(), 'failed')"
    )
    (letter,) = await queues.dead_letters(domain)
    results = await asyncio.gather(
        *(queues.requeue_job(domain, letter.id) for _ in range(2)), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, HubError)]
    assert [one.code for one in refused] == [Code.NOT_FOUND]
    assert "email" in results


@pytest.mark.parametrize(
    ("what", "id", "queue", "says"),
    [
        ("job", "999999", None, "no such held job"),
        ("job", "one", None, "no number"),
        ("job", "1", "reports", "Queue reports not found"),
        ("event", "one", None, "no UUID"),
        ("event", "7b0c1c7e-4a5a-4d52-9d3c-0a8f6f3f8a01", None, "no such failed event"),
        ("list", "", "reports", "Queue reports not found"),
    ],
)
async def test_what_cannot_be_put_back_is_said(
    domain: Domain,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    what: str,
    id: str,
    queue: str | None,
    says: str,
) -> None:
    assert await requeue_command(settings, what, id, queue) == 1
    assert says in capsys.readouterr().err


async def test_an_event_that_failed_is_tried_again_from_the_first(
    shift: Shift, settings: Settings
) -> None:
    d, id = shift.desk.domain, uuid4()
    payload = {
        "answerId": "a-1",
        "questionId": "q-9",
        "answererId": "bora",
        "questionerId": "mina",
        "excerpt": "여기요",
    }
    event = Envelope(event_id=id, event_type="answer.created", occurred_at=d.now(), payload=payload)
    await intake.accept(d, SERVICE, [event])
    await shift.advance(60)
    assert await d.pool.fetchval("SELECT attempts FROM inbox_events") == 5
    assert await requeue_command(settings, "event", str(id), None) == 0
    await shift.advance(60)
    assert await d.pool.fetchval("SELECT attempts FROM inbox_events") == 4
    assert shift.ran == ["event"] * 8
