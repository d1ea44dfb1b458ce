"""The whole way over REST: a session, a question, an answer, its acceptance, the inboxes."""

from datetime import UTC, datetime
from uuid import uuid4

from tests.api.conftest import JEJU, PREFIX, Door


async def test_a_question_goes_its_whole_way(door: Door) -> None:
    opened = await door.call("POST", f"{PREFIX}/auth/sessions", {"userId": "minji"}, as_=door.key)
    assert opened.status == 200
    assert opened.body["expiresIn"] == 900
    token = opened.body["accessToken"]

    asked = await door.call(
        "POST",
        f"{PREFIX}/questions",
        {"title": "약국", "content": "지금 여는 약국?", "urgency": "urgent", "hashtags": ["#약국"]}
        | JEJU,
        as_=token,
    )
    assert asked.status == 201
    question = asked.body
    assert question["location"] == {"lat": 33.5, "lng": 126.531}
    assert question["regionCode"] == "jeju"
    assert question["urgentState"] in ("open", "wave")
    assert question["hashtags"] == ["약국"]

    answer = await door.answer(question["id"], "haru")
    accepted = await door.call("PUT", f"{PREFIX}/answers/{answer['id']}/accept", as_=token)
    assert accepted.status == 200
    assert (accepted.body["isAccepted"], accepted.body["points"]) == (True, 10)

    mine = await door.call("GET", f"{PREFIX}/notifications/minji", as_=token)
    assert [row["kind"] for row in mine.body["items"]] == ["answer_created"]
    assert mine.body["unread"] == 1
    count = await door.call("GET", f"{PREFIX}/notifications/haru/unread-count", as_="haru")
    assert count.body == {"count": 1, "byKind": {"answer_accepted": 1}}
    assert await door.count("point_transactions") == 1
    assert await door.count("outbox", "published_at IS NULL") == 0


async def test_events_are_applied_once_by_their_id(door: Door) -> None:
    event = {
        "eventId": str(uuid4()),
        "eventType": "question.created",
        "occurredAt": datetime.now(UTC).isoformat(),
        "publisher": "somebody-else",
        "payload": {
            "questionId": "q-77",
            "userId": "minji",
            "location": {"lat": 33.49961234, "lng": 126.53121234},
            "urgency": "urgent",
        },
    }
    first = await door.call("POST", f"{PREFIX}/events", event, as_=door.key)
    assert (first.status, first.body) == (202, {"accepted": 1, "duplicates": 0})
    again = await door.call("POST", f"{PREFIX}/events", [event, event], as_=door.key)
    assert (again.status, again.body) == (202, {"accepted": 0, "duplicates": 2})
    assert await door.count("questions") == 1
    row = await door.domain.pool.fetchrow("SELECT publisher, payload FROM inbox_events")
    assert row is not None
    assert row["publisher"] == "qa-service"
    assert "126.53121" not in row["payload"]


async def test_a_hundred_events_fit_into_one_call(door: Door) -> None:
    events = [
        {
            "eventId": str(uuid4()),
            "eventType": "question.created",
            "occurredAt": datetime.now(UTC).isoformat(),
            "payload": {
                "questionId": f"q-{number}",
                "userId": "minji",
                "title": "질문",
                "content": "내용",
                "category": "food",
                "location": JEJU,
                "hashtags": [f"tag{n}" for n in range(10)],
            },
        }
        for number in range(100)
    ]
    reply = await door.call("POST", f"{PREFIX}/events", events, as_=door.key)
    assert (reply.status, reply.body) == (202, {"accepted": 100, "duplicates": 0})
    assert await door.count("questions") == 100
    events.append(events[0])
    assert (await door.call("POST", f"{PREFIX}/events", events, as_=door.key)).status == 400
