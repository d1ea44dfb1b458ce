"""Reports: what people find wrong reaches the admins, and one of them closes it."""

from typing import Any
from uuid import uuid4

import pytest

from hub.domain import chat
from protocol.events.chat import ChatSend
from tests.api.conftest import PREFIX, Door, Reply

REPORTS, ADMIN = f"{PREFIX}/reports", f"{PREFIX}/admin/reports"
NOBODYS = "4e16436d-cc7b-4656-ba62-7b7470794d85"
"""No such thing; the same in every process that collects the tests."""


async def report(door: Door, who: str, kind: Any, id: Any, reason: Any = "스팸") -> Reply:
    body = {"kind": kind, "id": id, "reason": reason}
    return await door.call("POST", REPORTS, body, as_=who)


async def said(door: Door) -> str:
    await chat.enter(door.domain, "haru", "chat:lobby")
    form = ChatSend(room_id="lobby", content="spam", client_message_id="c")
    async with door.domain.outbox.change() as change:
        return (await chat.send(door.domain, change, "haru", form)).message_id


async def test_each_kind_is_reported_listed_and_closed(door: Door) -> None:
    question = await door.ask()
    answer = await door.answer(question["id"])
    subjects = [
        ("user", "asker"),
        ("question", question["id"]),
        ("answer", answer["id"]),
        ("message", await said(door)),
    ]
    for kind, id in subjects:
        reply = await report(door, "minji", kind, id)
        assert (reply.status, set(reply.body)) == (202, {"id"})
    root = door.token("root", role="admin")
    first = (await door.call("GET", f"{ADMIN}?limit=3", as_=root)).body
    rest = (await door.call("GET", f"{ADMIN}?limit=3&after={first['next']}", as_=root)).body
    items = [*first["items"], *rest["items"]]
    assert [(one["kind"], one["subjectId"]) for one in items] == subjects
    assert rest["next"] is None
    assert {(one["userId"], one["reason"], one["closedAt"]) for one in items} == {
        ("minji", "스팸", None)
    }
    path = f"{ADMIN}/{items[0]['id']}/close"
    closed = await door.call("POST", path, as_=root)
    assert (closed.status, closed.body["closedBy"]) == (200, "root")
    again = await door.call("POST", path, as_=door.token("second", role="admin"))
    assert again.body == closed.body, "who closed it first stays"
    found = (await door.call("GET", f"{ADMIN}?closed=true", as_=root)).body
    assert found["items"] == [closed.body]
    assert len((await door.call("GET", ADMIN, as_=root)).body["items"]) == 3


async def test_only_admins_see_them(door: Door) -> None:
    for who in ("minji", door.key):
        assert (await door.call("GET", ADMIN, as_=who)).code == "FORBIDDEN"
        path = f"{ADMIN}/{uuid4()}/close"
        assert (await door.call("POST", path, as_=who)).code == "FORBIDDEN"
    assert (await report(door, door.key, "user", "minji")).code == "FORBIDDEN"


@pytest.mark.parametrize(
    ("kind", "id", "reason", "code"),
    [
        ("user", "nobody", "x", "NOT_FOUND"),
        ("question", "none", "x", "NOT_FOUND"),
        ("answer", "none", "x", "NOT_FOUND"),
        ("message", "no-uuid", "x", "NOT_FOUND"),
        ("message", NOBODYS, "x", "NOT_FOUND"),
        ("room", "lobby", "x", "INVALID_PAYLOAD"),
        ("user", "", "x", "INVALID_PAYLOAD"),
        ("user", "minji", "", "INVALID_PAYLOAD"),
        ("user", "minji", "x" * 1001, "INVALID_PAYLOAD"),
        ("user", "minji", "a\x00b", "INVALID_PAYLOAD"),
        ("user", "minji", 7, "INVALID_PAYLOAD"),
    ],
)
async def test_what_cannot_be_reported(
    door: Door, kind: str, id: str, reason: Any, code: str
) -> None:
    assert (await report(door, "minji", kind, id, reason)).code == code
    assert await door.count("reports") == 0


async def test_five_a_minute(door: Door) -> None:
    await door.ask("asker")
    for _ in range(5):
        assert (await report(door, "minji", "user", "asker")).status == 202
    limited = await report(door, "minji", "user", "asker")
    assert (limited.status, limited.code) == (429, "RATE_LIMITED")
    assert int(limited.headers["Retry-After"]) <= 60


async def test_what_is_no_report_cannot_be_closed(door: Door) -> None:
    root = door.token("root", role="admin")
    for id in ("no-uuid", str(uuid4())):
        assert (await door.call("POST", f"{ADMIN}/{id}/close", as_=root)).code == "NOT_FOUND"
        assert (await door.call("GET", f"{ADMIN}?after={id}", as_=root)).code == "NOT_FOUND"
