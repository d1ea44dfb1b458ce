"""What strangers try: other people's things, and texts that are no texts but statements, header
lines and log lines. All of it is refused, or kept as the text it is; all refusals are counted."""

import re
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import pytest

from api.routes import ROUTES
from hub.domain.people import sessions
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.rest.operation import PREFIX
from tests.api.conftest import Door
from tests.api.test_inbox import tell
from tests.api.test_mail import click, link

pytestmark = pytest.mark.refused

CODES: Final = ("FORBIDDEN", "NOT_FOUND", "UNAUTHENTICATED")


def counted() -> float:
    return sum(
        REGISTRY.get_sample_value("errors_total", {"door": "http", "code": code}) or 0
        for code in CODES
    )


async def things(door: Door) -> list[tuple[str, str, Any]]:
    """What asker has, and how a stranger would get at it: inbox, question, answer, room, device,
    profile, points and mail link."""
    question = await door.ask()
    answer = await door.answer(question["id"], "haru")
    device = await door.call(
        "POST", f"{PREFIX}/devices", {"platform": "ios", "token": "t" * 32}, as_="asker"
    )
    (notification,) = await tell(door, 1, user_id="asker")
    question_path, answer_path = f"/questions/{question['id']}", f"/answers/{answer['id']}"
    return [
        ("GET", "/notifications/asker", None),
        ("GET", "/notifications/asker/unread-count", None),
        ("DELETE", f"/notifications/{notification}", None),
        ("PUT", question_path, {"title": "mine now"}),
        ("PUT", question_path, {"status": "closed"}),
        ("DELETE", question_path, None),
        ("PUT", answer_path, {"content": "mine now"}),
        ("DELETE", answer_path, None),
        ("PUT", f"{answer_path}/accept", None),
        ("GET", "/rooms/chat:lobby/messages", None),
        ("GET", "/rooms/user:asker/messages", None),
        ("GET", "/rooms/stream:live/presence", None),
        ("DELETE", f"/devices/{device.body['id']}", None),
        ("POST", f"/devices/{device.body['id']}/test", {}),
        ("GET", "/users/asker", None),
        ("PUT", "/users/asker", {"nickname": "mine"}),
        ("GET", "/users/asker/preferences", None),
        ("PUT", "/users/asker/preferences", {"pushEnabled": False}),
        ("GET", "/points/asker", None),
        ("GET", "/admin/queues", None),
        ("GET", "/admin/reports", None),
        ("GET", "/explain?userId=asker&questionId=q", None),
        ("POST", "/auth/revoke", {"userId": "asker"}),
    ]


async def test_what_is_anothers_is_refused_and_counted(door: Door, record_property: Any) -> None:
    mine = await things(door)
    tables = ("questions", "answers", "devices", "notifications", "users")
    rows = {name: await door.domain.pool.fetch(f"TABLE {name}") for name in tables}
    before = counted()
    for method, path, body in mine:
        reply = await door.call(method, PREFIX + path, body, as_="stranger")
        assert (reply.status in (403, 404), reply.code in CODES) == (True, True), (path, reply.body)
    forged = link(door)[:-6] + "AAAAAA"
    assert (await click(door, forged)).code == "NOT_FOUND"
    shop = await sessions.add_service(door.domain, "shop", room_prefixes=("stream:",))
    told = {"event": "room:broadcast", "data": {}}
    for room in ("user:asker", "question:q", "region:jeju", "cell:8830e1d8a1fffff"):
        path = f"{PREFIX}/rooms/{room}/broadcasts"
        assert (await door.call("POST", path, told, as_=shop)).code == "FORBIDDEN"
    tried = len(mine) + 1 + 4
    assert counted() - before == tried
    for name, kept in rows.items():
        now = await door.domain.pool.fetch(f"TABLE {name}")
        assert [one for one in now if one not in kept and one.get("id") != "stranger"] == []
    (id,) = await tell(door, 1, user_id="nobody")
    ignored = await door.call("PUT", f"{PREFIX}/notifications/{id}/read", as_="stranger")
    assert ignored.body == {"unread": 0}, "somebody else's ids are as if they were not there"
    assert await door.count("notifications", "read_at IS NOT NULL") == 0
    record_property("seen", f"{tried} of other people's things: {tried} refused, {tried} counted")


STATEMENTS: Final = (
    "'; DROP TABLE questions; --",
    "' OR '1'='1",
    "1; SELECT pg_sleep(9)",
    "\\'; DELETE FROM users; --",
    "%' UNION SELECT key_hash FROM service_clients --",
    '{"$gt": ""}',
    "$(reboot)",
)
LINES: Final = (
    "a\r\nX-Injected: yes",
    "a\r\n\r\nHTTP/1.1 200 OK",
    "a\n2026-01-01 [error] forged line",
    "a\x1b[2Kforged",
    "a\u2028forged",
)


def _forms(text: str) -> list[tuple[str, str, Any]]:
    """Wherever a caller's text goes: words, ids, names, queries."""
    return [
        ("POST", "/questions", {"title": text, "content": text}),
        ("POST", "/questions", {"title": "t", "content": "c", "category": text}),
        ("POST", "/questions", {"title": "t", "content": "c", "hashtags": [text]}),
        ("POST", "/answers", {"questionId": text, "content": text}),
        ("PUT", "/users/stranger", {"nickname": text}),
        ("PUT", "/users/stranger/preferences", {"followedHashtags": [text]}),
        ("POST", "/reports", {"kind": "user", "id": text, "reason": text}),
        ("POST", "/devices", {"platform": "ios", "token": text}),
        ("POST", "/notifications/acks", {"ids": [text], "state": "read"}),
        ("GET", f"/search?q={quote(text)}", None),
        ("GET", f"/questions?q={quote(text)}", None),
        ("GET", f"/questions?region={quote(text)}&hashtags={quote(text)}", None),
        ("GET", f"/questions?sortBy={quote(text)}", None),
        ("GET", f"/trending?region={quote(text)}", None),
        ("GET", f"/points/stranger?after={quote(text)}", None),
    ]


async def test_statements_and_lines_are_texts(
    open_door: Any, capsys: pytest.CaptureFixture[str], record_property: Any
) -> None:
    """Neither the database nor an answer's head nor the log does what they say."""
    door: Door = await open_door(access="all", rate_max=10**6)
    schema = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'"
    columns = await door.domain.pool.fetchval(schema)
    await door.ask("asker", title="here before")
    sent = 0
    for text in (*STATEMENTS, *LINES):
        segment = quote(text, safe="")
        paths = {re.sub(r"\{\w+\}", segment, route.path): route.method for route in ROUTES}
        asked: list[tuple[Any, str, Any]] = [
            (method, path, None) for path, method in paths.items() if segment in path
        ]
        asked += [(method, PREFIX + path, body) for method, path, body in _forms(text)]
        for method, path, body in asked:
            who = f"stranger-{sent}" if "/stranger" not in path else "stranger"
            reply = await door.call(method, path, body, as_=who if sent % 2 else str(uuid4()))
            sent += 1
            assert reply.status < 500, (method, path, reply.body)
            assert "X-Injected" not in reply.headers
            assert not re.search(r"[\r\n]", "".join(reply.headers.values()))
    assert await door.domain.pool.fetchval(schema) == columns
    assert await door.count("questions", "title = 'here before'") == 1
    assert await door.count("users", "id = 'asker'") == 1
    assert await door.domain.pool.fetchval("SELECT key_hash FROM service_clients LIMIT 1")
    lines = capsys.readouterr().out.splitlines()
    forged = [line for line in lines if re.match(r"2026-01-01 |forged|X-Injected|HTTP/1.1", line)]
    assert forged == []
    assert not any("\x1b[2K" in line for line in lines)
    record_property(
        "seen",
        f"{len(STATEMENTS)} statements and {len(LINES)} lines in {sent} requests: none obeyed",
    )
