"""What operators see over REST: queues, dead letters, figures of what was promised."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import JEJU, PREFIX, Door, Reply

QUEUES = f"{PREFIX}/admin/queues"


async def as_admin(door: Door, method: str, path: str) -> Reply:
    return await door.call(method, path, as_=door.token("root", role="admin"))


async def hold(door: Door) -> int:
    id: int = await door.domain.pool.fetchval(
        "INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status)"
        " VALUES (0, 'email', '{}', now(), 'failed') RETURNING id"
    )
    return id


async def test_queues_say_what_waits_and_what_is_held(door: Door) -> None:
    id = await hold(door)
    await door.domain.pool.execute(
        "INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority, created)"
        " SELECT 1, 'successful', 'kakao', 0, now() - s * interval '45 s'"
        " FROM generate_series(0, 3) s"
    )
    reply = await as_admin(door, "GET", QUEUES)
    assert reply.status == 200
    found: dict[str, Any] = {one["queue"]: one for one in reply.body["items"]}
    assert list(found) == ["notification", "email", "analytics", "follow-up", "event"]
    assert (found["email"]["held"], found["email"]["due"]) == (1, 0)
    assert found["notification"]["doneAMinute"] == 2
    (letter,) = reply.body["dead"]
    assert (letter["id"], letter["queue"], letter["job"]) == (id, "email", "email")


async def test_a_dead_letter_is_put_back_once(door: Door) -> None:
    id = await hold(door)
    for path in (
        f"other/dead/{id}",
        f"analytics/dead/{id}",
        "email/dead/x",
        f"email/dead/{10**30}",
    ):
        refused = await as_admin(door, "POST", f"{QUEUES}/{path}/retry")
        assert (refused.status, refused.code) == (404, "NOT_FOUND"), path
    back = await as_admin(door, "POST", f"{QUEUES}/email/dead/{id}/retry")
    assert (back.status, back.body) == (200, {"job": "email"})
    again = await as_admin(door, "POST", f"{QUEUES}/email/dead/{id}/retry")
    assert again.status == 404


async def test_the_figures_of_what_was_promised(door: Door) -> None:
    answered = await door.ask("one", urgency="urgent", **JEJU)
    await door.answer(answered["id"])
    await door.ask("two", urgency="urgent", **JEJU)
    yesterday = door.domain.now().date() - timedelta(days=1)
    for region, asked, in_time in (("jeju", 8, 6), ("busan", 2, 2)):
        await door.domain.pool.execute(
            "INSERT INTO answer_stats (day, region_code, urgent_questions, answered_in_target)"
            " VALUES ($1, $2, $3, $4)",
            yesterday,
            region,
            asked,
            in_time,
        )
    told = (await as_admin(door, "GET", f"{PREFIX}/admin/slo")).body
    assert told["lastDay"] == {"urgentQuestions": 2, "answeredInTarget": 1, "share": 0.5}
    assert told["last28Days"] == {"urgentQuestions": 10, "answeredInTarget": 8, "share": 0.8}
    figures = told["availability"]
    assert figures["requests"] >= 3
    assert figures["share"] == round(1 - figures["failed"] / figures["requests"], 5)


@pytest.mark.parametrize("path", [QUEUES, f"{PREFIX}/admin/slo"])
async def test_they_are_for_admins_alone(door: Door, path: str) -> None:
    for who in ("minji", door.key):
        assert (await door.call("GET", path, as_=who)).status == 403
