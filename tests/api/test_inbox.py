"""The inbox over REST: pages, unread counts, acknowledged, seen, read."""

from typing import Any

import pytest

from tests.api.conftest import JEJU, PREFIX, Door, Reply

INBOX = f"{PREFIX}/notifications"


async def tell(door: Door, number: int, kind: str = "news", user_id: str = "minji") -> list[str]:
    ids: list[str] = []
    for n in range(number):
        body = {"kind": kind, "title": f"t{n}", "body": "b", "userId": user_id, "data": {"n": n}}
        reply = await door.call("POST", INBOX, body, as_=door.key)
        assert reply.status == 202, reply.body
        ids += reply.body["ids"]
    return ids


async def acks(door: Door, **body: Any) -> Reply:
    return await door.call("POST", f"{INBOX}/acks", body, as_="minji")


async def test_pages_go_back_in_time(door: Door) -> None:
    made = await tell(door, 5)
    seen, after = [], ""
    for _ in range(3):
        page = (await door.call("GET", f"{INBOX}/minji?limit=2{after}", as_="minji")).body
        seen += [row["id"] for row in page["items"]]
        after = f"&after={page['next']}".replace("+", "%2B")
    assert seen == made[::-1]
    assert page["next"] is None
    assert page["unread"] == 5
    bad = await door.call("GET", f"{INBOX}/minji?after=hello", as_="minji")
    assert (bad.status, bad.code) == (400, "INVALID_PAYLOAD")


async def test_rows_are_chosen_by_kind_and_unread(door: Door) -> None:
    first = await tell(door, 1, "news")
    second = await tell(door, 1, "sale")
    await door.call("PUT", f"{INBOX}/{first[0]}/read", as_="minji")
    for query, ids in (("kind=sale", second), ("unread=true", second), ("kind=news", first)):
        page = (await door.call("GET", f"{INBOX}/minji?{query}", as_="minji")).body
        assert [row["id"] for row in page["items"]] == ids


async def test_an_admin_reads_another_inbox_but_not_its_count(door: Door) -> None:
    await tell(door, 1)
    admin = door.token("root", role="admin")
    assert (await door.call("GET", f"{INBOX}/minji", as_=admin)).body["unread"] == 1
    assert (await door.call("GET", f"{INBOX}/minji/unread-count", as_=admin)).status == 403


async def test_acknowledged_seen_and_read_are_told_apart(door: Door) -> None:
    one, two, three = await tell(door, 3)
    assert (await acks(door, ids=[one])).body == {"unread": 3}
    assert (await acks(door, ids=[two], state="seen")).body == {"unread": 3}
    assert (await acks(door, ids=[two], state="read")).body == {"unread": 2}
    assert (await door.call("PUT", f"{INBOX}/{three}/read", as_="minji")).body == {"unread": 1}
    assert await door.count("notifications", "acknowledged_at IS NOT NULL") == 1
    assert await door.count("notifications", "seen_at IS NOT NULL") == 2
    everything = await door.call("PUT", f"{INBOX}/read-all", as_="minji")
    assert (everything.status, everything.body) == (200, {"unread": 0})
    count = await door.call("GET", f"{INBOX}/minji/unread-count", as_="minji")
    assert count.body == {"count": 0, "byKind": {}}


async def test_reading_all_may_stop_at_a_moment(door: Door) -> None:
    await tell(door, 2)
    page = (await door.call("GET", f"{INBOX}/minji", as_="minji")).body
    oldest = page["items"][-1]["createdAt"]
    reply = await door.call("PUT", f"{INBOX}/read-all", {"before": oldest}, as_="minji")
    assert reply.body == {"unread": 1}
    naive = {"before": "2026-01-01T00:00:00"}
    refused = await door.call("PUT", f"{INBOX}/read-all", naive, as_="minji")
    assert (refused.status, refused.code) == (400, "INVALID_PAYLOAD")


@pytest.mark.parametrize("state", ["acknowledged", "seen", "read"])
async def test_somebody_elses_ids_are_ignored(door: Door, state: str) -> None:
    (theirs,) = await tell(door, 1, user_id="haru")
    await tell(door, 1)
    reply = await acks(door, ids=[theirs, "no-id"], state=state)
    assert (reply.status, reply.body) == (200, {"unread": 1})
    untouched = "acknowledged_at IS NULL AND seen_at IS NULL AND read_at IS NULL"
    assert await door.count("notifications", f"user_id = 'haru' AND {untouched}") == 1


async def test_a_deleted_one_is_gone_and_somebody_elses_is_not_found(door: Door) -> None:
    one, two = await tell(door, 2)
    (theirs,) = await tell(door, 1, user_id="haru")
    assert (await door.call("DELETE", f"{INBOX}/{one}", as_="minji")).status == 204
    for id in (one, theirs, "no-id"):
        reply = await door.call("DELETE", f"{INBOX}/{id}", as_="minji")
        assert (reply.status, reply.code) == (404, "NOT_FOUND")
    page = (await door.call("GET", f"{INBOX}/minji", as_="minji")).body
    assert ([row["id"] for row in page["items"]], page["unread"]) == ([two], 1)


@pytest.mark.parametrize("state", ["seen", "read"])
async def test_a_question_names_its_notifications(door: Door, state: str) -> None:
    question = await door.ask("minji")
    await door.answer(question["id"])
    reply = await acks(door, questionIds=[question["id"]], state=state)
    assert reply.body == {"unread": 1 if state == "seen" else 0}
    assert await door.count("notifications", "seen_at IS NOT NULL") == 1


async def test_acknowledging_a_question_is_kept_before_its_row_is_written(door: Door) -> None:
    question = await door.ask(urgency="urgent", **JEJU)
    await door.call("PUT", f"{INBOX}/read-all", as_="minji")
    await door.domain.pool.execute("INSERT INTO users (id, nickname) VALUES ('minji', '민지')"
                                   " ON CONFLICT DO NOTHING")  # fmt: skip
    assert (await acks(door, questionIds=[question["id"], "none"])).body == {"unread": 0}
    assert await door.count("question_recipients", "acknowledged_at IS NOT NULL") == 1


async def test_a_notification_needs_somebody(door: Door) -> None:
    for body in (
        {"kind": "k", "title": "t", "body": "b"},
        {"kind": "question_urgent", "title": "t", "body": "b", "userId": "u"},
        {"kind": "k", "title": "t", "body": "b", "userIds": [f"u{n}" for n in range(1001)]},
    ):
        reply = await door.call("POST", INBOX, body, as_=door.key)
        assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")
    assert await door.count("notifications") == 0


async def test_a_thousand_people_are_told_in_one_call(door: Door) -> None:
    body = {"kind": "news", "title": "t", "body": "b", "dedupKey": "d1"}
    people = {"userIds": [f"u{n}" for n in range(1000)]}
    first = await door.call("POST", INBOX, body | people, as_=door.key)
    assert len(first.body["ids"]) == 1000
    again = await door.call("POST", INBOX, body | {"userIds": ["u1", "new"]}, as_=door.key)
    assert len(again.body["ids"]) == 1
    assert await door.count("notifications") == 1001
