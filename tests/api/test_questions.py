"""Questions over REST: who sees what, the list, closing and deleting."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from api.routes import ROUTES, in_force
from tests.api.conftest import JEJU, PREFIX, Door
from tests.api.test_services import event, publish

QUESTIONS = f"{PREFIX}/questions"


async def seed(door: Door, number: int, **changes: Any) -> None:
    """Questions straight into the table: the limits are not the subject here."""
    row = {"region": "jeju", "category": None, "tags": [], "urgency": "normal"} | changes
    await door.domain.pool.execute(
        "INSERT INTO users (id, nickname, is_local_verified) VALUES ('minji', '민지', true)"
        " ON CONFLICT DO NOTHING"
    )
    await door.domain.pool.execute(
        "INSERT INTO questions (id, user_id, title, content, category, region_code, hashtags,"
        " urgency, deadline_at, lat, lng, created_at, updated_at)"
        " SELECT $1 || '-' || n, 'minji', 't', 'c', $2, $3, $4, $5,"
        "  now() + interval '10 minutes', 33.5, 126.5, now() - n * interval '1 minute', now()"
        " FROM generate_series(1, $6) n",
        changes.get("prefix", "q"),
        row["category"],
        row["region"],
        row["tags"],
        row["urgency"],
        number,
    )


async def listed(door: Door, query: str = "") -> dict[str, Any]:
    reply = await door.call("GET", f"{QUESTIONS}?{query}")
    assert reply.status == 200, reply.body
    assert isinstance(reply.body, dict)
    return reply.body


async def test_the_list_has_twenty_a_page(door: Door) -> None:
    await seed(door, 45)
    first, third, fourth = [await listed(door, f"page={n}") for n in (1, 3, 4)]
    assert first["pagination"] == {
        "current_page": 1,
        "per_page": 20,
        "total": 45,
        "total_pages": 3,
    }
    assert [row["id"] for row in first["questions"][:2]] == ["q-1", "q-2"]
    assert first["questions"][0]["author"] == {
        "userId": "minji",
        "nickname": "민지",
        "isLocalVerified": True,
        "regionCode": "default",
    }
    assert len(third["questions"]) == 5
    assert fourth["questions"] == []


async def test_the_list_is_filtered(door: Door) -> None:
    await seed(door, 2)
    await seed(door, 1, prefix="busan", region="busan", category="food", tags=["약국", "밤"])
    await seed(door, 1, prefix="old", region="jeju", tags=["밤"])
    for query, ids in (
        ("region=busan", {"busan-1"}),
        ("category=food", {"busan-1"}),
        ("hashtags=%23밤", {"busan-1", "old-1"}),
        ("hashtags=약국,없음", {"busan-1"}),
        ("region=jeju&hashtags=밤", {"old-1"}),
        ("region=seoul", set()),
    ):
        assert {row["id"] for row in (await listed(door, query))["questions"]} == ids, query


async def test_urgent_ones_come_first_while_they_are_open(door: Door) -> None:
    await seed(door, 2)
    await seed(door, 3, prefix="u", urgency="urgent")
    await door.domain.pool.execute("UPDATE questions SET first_answer_at = now() WHERE id = 'u-1'")
    await door.domain.pool.execute("UPDATE questions SET status = 'closed' WHERE id = 'u-2'")
    rows = (await listed(door, "sortBy=urgent"))["questions"]
    assert rows[0]["id"] == "u-3"
    assert {row["id"] for row in rows} == {"u-1", "u-3", "q-1", "q-2"}


async def test_the_place_is_for_signed_in_people_while_it_is_open(door: Door) -> None:
    question = await door.ask(**JEJU)
    path = f"{QUESTIONS}/{question['id']}"
    assert (await door.call("GET", path)).body["location"] is None
    assert (await door.call("GET", path, as_="haru")).body["location"] == {
        "lat": 33.5,
        "lng": 126.531,
    }
    assert (await listed(door))["questions"][0]["location"] is None
    await door.call("PUT", path, {"status": "closed"}, as_="asker")
    assert (await door.call("GET", path, as_="haru")).body["location"] is None
    assert (await door.call("GET", path)).body["neighbourhoodCode"] is not None


async def test_answers_come_in_pages(door: Door) -> None:
    question = await door.ask()
    made = [await door.answer(question["id"], f"helper{n}") for n in range(5)]
    path, seen, after = f"{QUESTIONS}/{question['id']}/answers?limit=2", [], ""
    for _ in range(3):
        page = (await door.call("GET", path + after)).body
        seen += [row["id"] for row in page["items"]]
        after = f"&after={page['next']}"
    assert seen == [answer["id"] for answer in reversed(made)]
    assert page["next"] is None
    assert (await door.call("GET", f"{QUESTIONS}/none/answers")).status == 404


@pytest.mark.parametrize("role", ["user", "admin"])
async def test_its_asker_or_an_admin_closes_and_deletes(door: Door, role: str) -> None:
    question = await door.ask(urgency="urgent", **JEJU)
    who = door.token("asker" if role == "user" else "root", role=role)
    path = f"{QUESTIONS}/{question['id']}"
    closed = await door.call("PUT", path, {"status": "closed"}, as_=who)
    assert (closed.status, closed.body["status"]) == (200, "closed")
    assert closed.body["author"]["userId"] == "asker"
    gone = await door.call("DELETE", path, as_=who)
    assert (gone.status, gone.raw) == (204, b"")
    assert (await door.call("GET", path)).status == 404
    assert (await door.call("DELETE", path, as_=who)).status == 404
    assert await door.count("urgent_waves", "cancelled_at IS NULL") == 0


@pytest.mark.fault(17)
@pytest.mark.parametrize("id", ["2026/0042", "q 7", "q?x=1", "q#9", "약국", "100%", "a%2Fb", "{}"])
async def test_a_question_is_found_under_its_id_in_one_segment(door: Door, id: str) -> None:
    fact = event("question.created", {"questionId": id, "userId": "asker"})
    assert (await publish(door, fact)).status == 202
    url = URL(f"{door.url}{QUESTIONS}/{quote(id, safe='')}", encoded=True)
    for path in (url, URL(f"{url}/answers", encoded=True)):
        async with door.http.get(path) as answer:
            assert answer.status == 200, path
            body = await answer.json()
    async with door.http.get(url) as answer:
        assert (await answer.json())["id"] == id
    assert body["items"] == []


async def test_its_asker_changes_the_words(door: Door) -> None:
    question = await door.ask(hashtags=["밤"], category="health", **JEJU)
    path = f"{QUESTIONS}/{question['id']}"
    words = {"title": "병원", "hashtags": ["#낮"]}
    changed = await door.call("PUT", path, words, as_="asker")
    assert changed.status == 200, changed.body
    assert (changed.body["title"], changed.body["hashtags"]) == ("병원", ["낮"])
    assert (changed.body["content"], changed.body["category"]) == (question["content"], "health")
    assert [row["id"] for row in (await listed(door, "q=병원"))["questions"]] == [question["id"]]
    assert (await door.call("PUT", path, words, as_="haru")).code == "FORBIDDEN"
    assert (await door.call("PUT", path, {}, as_="asker")).code == "INVALID_PAYLOAD"
    both = {"content": "닫아요", "status": "closed"}
    closed = await door.call("PUT", path, both, as_=door.token("root", role="admin"))
    assert (closed.body["content"], closed.body["status"]) == ("닫아요", "closed")
    assert (await door.call("PUT", path, words, as_="asker")).code == "CONFLICT"
    told = await door.domain.pool.fetch("SELECT payload FROM outbox ORDER BY id")
    assert sum(b"question:updated" in row["payload"] for row in told) == 2


async def test_another_service_changes_the_words_and_older_news_change_nothing(door: Door) -> None:
    question = await door.ask()
    now = door.domain.now()

    async def tell(minutes: int, **changed: Any) -> None:
        fact = event("question.updated", {"questionId": question["id"], **changed})
        fact["occurredAt"] = (now - timedelta(minutes=minutes)).isoformat()
        assert (await publish(door, fact)).body["accepted"] == 1

    await tell(1, title="새로", status="active")
    await tell(2, title="예전", hashtags=["없음"])
    row = (await door.call("GET", f"{QUESTIONS}/{question['id']}")).body
    assert (row["title"], row["hashtags"], row["status"]) == ("새로", [], "active")
    await tell(0, content="끝", status="closed")
    row = (await door.call("GET", f"{QUESTIONS}/{question['id']}")).body
    assert (row["title"], row["content"], row["status"]) == ("새로", "끝", "closed")


async def test_an_answer_is_rewritten_by_its_writer_or_an_admin(door: Door) -> None:
    question = await door.ask()
    path = f"{PREFIX}/answers/{(await door.answer(question['id']))['id']}"
    changed = await door.call("PUT", path, {"content": "다리 건너요."}, as_="answerer")
    assert (changed.status, changed.body["content"]) == (200, "다리 건너요.")
    refused = await door.call("PUT", path, {"content": "x"}, as_="asker")
    assert (refused.status, refused.code) == (403, "FORBIDDEN")
    admin = door.token("root", role="admin")
    assert (await door.call("PUT", path, {"content": "(!)"}, as_=admin)).status == 200
    listed_ = await door.call("GET", f"{QUESTIONS}/{question['id']}/answers")
    assert [row["content"] for row in listed_.body["items"]] == ["(!)"]
    nowhere = await door.call("PUT", f"{PREFIX}/answers/none", {"content": "x"}, as_="answerer")
    assert (nowhere.status, nowhere.code) == (404, "NOT_FOUND")
    assert (await door.call("PUT", path, {"content": ""}, as_="answerer")).status == 400


async def test_an_urgent_questions_only_answer_is_deleted_and_the_waves_go_on(door: Door) -> None:
    question = await door.ask(urgency="urgent", **JEJU)
    path = f"{PREFIX}/answers/{(await door.answer(question['id']))['id']}"
    assert (await door.call("DELETE", path, as_="asker")).status == 403
    assert await door.count("questions", "urgent_state = 'answered'") == 1
    assert (await door.call("DELETE", path, as_="answerer")).status == 204
    assert await door.count("questions", "urgent_state = 'wave' AND answer_count = 0") == 1
    assert (await door.call("DELETE", path, as_="answerer")).status == 404


async def test_an_accepted_answer_stays(door: Door) -> None:
    question = await door.ask()
    path = f"{PREFIX}/answers/{(await door.answer(question['id']))['id']}"
    await door.call("PUT", f"{path}/accept", as_="asker")
    refused = await door.call("DELETE", path, as_="answerer")
    assert (refused.status, refused.code) == (409, "CONFLICT")


def test_where_a_service_is_for_questions_no_path_here_writes_any() -> None:
    gone = [f"{row.method} {row.path}" for row in ROUTES if row not in in_force(qa_api=False)]
    assert gone == [
        f"POST {PREFIX}/questions",
        f"PUT {PREFIX}/questions/{{id}}",
        f"DELETE {PREFIX}/questions/{{id}}",
        f"POST {PREFIX}/answers",
        f"PUT {PREFIX}/answers/{{id}}",
        f"DELETE {PREFIX}/answers/{{id}}",
        f"PUT {PREFIX}/answers/{{id}}/accept",
    ]
    assert in_force(qa_api=True) == ROUTES
