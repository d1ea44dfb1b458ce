"""What a store, a codec or the log would refuse is refused at the door, with a code and no 500."""

import asyncio
import secrets
import unicodedata
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from yarl import URL

from api.routes import ROUTES
from hub.plumbing.telemetry.metrics import REGISTRY
from tests.api.conftest import PREFIX, Door, Reply, errors_counted, serve
from tests.api.test_services import event, publish

Seen = Callable[[str, object], None]
pytestmark = pytest.mark.fault(10)

NOTE = {"userId": "u", "kind": "k", "title": "t", "body": "b"}
EDGE = "0001-01-01T00:00:00+09:00"
LAST = "9999-12-31T23:59:59-05:00"


@pytest.fixture(autouse=True)
async def no_internal_error(door: Door) -> AsyncIterator[None]:
    before = errors_counted("INTERNAL")
    yield
    assert errors_counted("INTERNAL") == before


async def note(door: Door, **changes: Any) -> Reply:
    return await door.call("POST", f"{PREFIX}/notifications", NOTE | changes, as_=door.key)


def refused(reply: Reply) -> bool:
    return (reply.status, reply.code) == (400, "INVALID_PAYLOAD")


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
async def test_integers_over_64_bits(door: Door, number: int) -> None:
    data = {"deep": [{"n": number}]}
    broadcast = {"event": "ferry:cancelled", "data": data}
    path = f"{PREFIX}/rooms/region:jeju/broadcasts"
    assert refused(await note(door, data=data))
    assert refused(await door.call("POST", path, broadcast, as_=door.key))
    assert refused(await publish(door, event("user.updated", {"userId": "u", "more": number})))
    assert await door.count("outbox") == 0


async def test_integers_of_64_bits_come_back_as_they_were(door: Door) -> None:
    data = {"most": 2**64 - 1, "least": -(2**63), "float": 1.5e300}
    assert (await note(door, data=data)).status == 202
    inbox = await door.call("GET", f"{PREFIX}/notifications/u", as_="u")
    assert inbox.body["items"][0]["data"] == data


@pytest.mark.parametrize("moment", [EDGE, LAST])
async def test_times_that_have_no_utc(door: Door, moment: str) -> None:
    cursor = f"{PREFIX}/notifications/u?after={moment.replace('+', '%2B')}_{uuid4()}"
    replies = [
        await note(door, expiresAt=moment),
        await door.call("PUT", f"{PREFIX}/notifications/read-all", {"before": moment}, as_="u"),
        await publish(door, event("user.updated", {"userId": "u", "locationConsentAt": moment})),
        await publish(door, event("user.registered", {"userId": "u", "createdAt": moment})),
        await publish(door, event("user.registered", {"userId": "u"}, occurredAt=moment)),
        await door.call("GET", str(URL(door.url + cursor, encoded=True)), as_="u"),
    ]
    assert all(refused(reply) for reply in replies), [reply.status for reply in replies]
    assert await door.count("users") == 0


@pytest.mark.parametrize(
    "cursor",
    ["2026-01-01_x", "2026-01-01T00:00:00_{id}", "20260101_{id}", "_{id}", "_", "x", "%00",
     "%ED%A0%80", "2026-01-01T00:00:00%2B99:99_{id}", "9" * 100],
)  # fmt: skip
async def test_what_is_no_cursor(door: Door, cursor: str) -> None:
    url = f"{door.url}{PREFIX}/notifications/u?after={cursor.replace('{id}', str(uuid4()))}"
    async with door.http.get(
        URL(url, encoded=True), headers={"Authorization": f"Bearer {door.token('u')}"}
    ) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "INVALID_PAYLOAD"


async def test_a_device_token_over_what_the_index_takes(door: Door, record_property: Seen) -> None:
    """Random, so that nothing compresses it under the index's limit."""
    for size, status in ((4096, 400), (3000, 400), (2049, 400), (2048, 200), (163, 200)):
        token = secrets.token_urlsafe(size)[:size]
        body = {"platform": "android", "token": token}
        reply = await door.call("POST", f"{PREFIX}/devices", body, as_=f"u{size}")
        assert reply.status == status, size
    record_property("seen", "tokens of 2,048 bytes in, of 2,049 refused")


async def heard(door: Door, head: bytes, body: bytes = b'{"userId":"u"}') -> tuple[int, str]:
    """Status and text of the answer to raw lines of a head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(door.url).port)
    tail = b"Host: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + tail + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer.decode(errors="replace")


def session(key: str, more: bytes) -> bytes:
    head = b"POST /api/v1/auth/sessions HTTP/1.1\r\nContent-Type: application/json\r\n"
    return head + b"Authorization: Bearer " + key.encode() + b"\r\n" + more + b"\r\n"


async def test_bytes_that_are_not_utf_8_in_headers(door: Door, record_property: Seen) -> None:
    for agent in (b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80"):
        status, text = await heard(door, session(door.key, b"User-Agent: " + agent))
        assert (status, "INVALID_PAYLOAD" in text) == (400, True)
    status, _ = await heard(door, session(door.key, "User-Agent: 앱/1.0 café".encode()))
    assert status == 200
    assert await door.domain.pool.fetchval("SELECT user_agent FROM refresh_tokens") == "앱/1.0 café"
    for key in (
        b"dk_local.\xff",
        b"dk_\xe9.x",
        b"\xff",
        b"\xe9.\xe9.\xe9",
        b"dk_local.\xed\xa0\x80",
    ):
        head = b"POST /api/v1/auth/sessions HTTP/1.1\r\nAuthorization: Bearer " + key + b"\r\n"
        status, text = await heard(door, head)
        assert (status, "UNAUTHENTICATED" in text) == (401, True), key
    for name in (b"Accept", b"Accept-Encoding", b"Cookie", b"X-Request-ID", b"X-Forwarded-For"):
        status, _ = await heard(
            door, b"GET /api/v1/regions HTTP/1.1\r\n" + name + b": \xe9\xff\r\n"
        )
        assert status == 200, name
    record_property("seen", "User-Agent in Latin-1: 400, a key with byte FF: 401")


@pytest.mark.parametrize("part", ["%00", "a%00b", "%1B%5B2J", "%7F"])
async def test_control_characters_in_paths_and_queries(door: Door, part: str) -> None:
    for path in (f"/questions/{part}", f"/questions/{part}/answers", f"/questions?region={part}",
                 f"/questions?{part}=1", f"/questions?hashtags={part}",
                 f"/questions/x/answers?after={part}"):  # fmt: skip
        async with door.http.get(URL(door.url + PREFIX + path, encoded=True)) as answer:
            assert answer.status == 400, path


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "\udfff x", "\x1b[2J"], ids=ascii)
async def test_no_text_of_any_body_holds_them(door: Door, text: str) -> None:
    """As value, deep inside, and as a key; written as escapes, which any JSON may hold."""
    for route in [route for route in ROUTES if route.body]:
        path = route.path.replace("{id}", "x").replace("{userId}", "u")
        path = path.replace("{room}", "region:jeju").replace("{code}", "x")
        who = door.key if "service" in str(route.auth) else "u"
        if route.auth.kind == "admin" and not route.auth.scope:
            who = door.token("root", role="admin")
        for body in ({"x": text}, {"data": {"a": [text]}}, {text: 1}):
            assert refused(await door.call(route.method, path, body, as_=who)), route.path


ANSWER = {"answerId": "a1", "questionId": "q1", "answererId": "v", "questionerId": "u"}
ACCEPTED = ANSWER | {"points": 7}
FACTS: dict[str, list[dict[str, Any]]] = {
    "user.registered": [event("user.registered", {"userId": "u", "email": "u@example.org"})],
    "question.created": [event("question.created", {"questionId": "q1", "userId": "u"})],
    "question.created, urgent": [
        event("question.created", {"questionId": "q1", "userId": "u", "urgency": "urgent",
                                   "location": {"lat": 33.489, "lng": 126.493}}),
    ],
    "answer.created": [
        event("question.created", {"questionId": "q1", "userId": "u"}),
        event("answer.created", ANSWER),
    ],
    "answer.accepted": [
        event("question.created", {"questionId": "q1", "userId": "u"}),
        event("answer.created", ANSWER),
        event("answer.accepted", ACCEPTED),
    ],
    "question.closed": [
        event("question.created", {"questionId": "q1", "userId": "u"}),
        event("question.closed", {"questionId": "q1"}),
    ],
    "question.closed, deleted": [
        event("question.created", {"questionId": "q1", "userId": "u"}),
        event("question.closed", {"questionId": "q1", "status": "deleted"}),
    ],
}  # fmt: skip
TABLES = ("users", "questions", "answers", "point_transactions", "notifications", "outbox")


@pytest.mark.parametrize("name", FACTS)
async def test_a_fact_that_comes_again_under_a_new_event_id_is_a_duplicate(
    door: Door, name: str
) -> None:
    given = [one | {"eventId": str(uuid4())} for one in FACTS[name]]
    assert (await publish(door, given)).body == {"accepted": len(given), "duplicates": 0}
    before = {table: await door.count(table) for table in TABLES}
    again = given[-1] | {"eventId": str(uuid4())}
    reply = await publish(door, again)
    assert (reply.status, reply.body) == (202, {"accepted": 0, "duplicates": 1})
    assert {table: await door.count(table) for table in TABLES} == before, "nobody is told twice"
    assert await door.count("inbox_events", "processed_at IS NULL OR error IS NOT NULL") == 0
    assert await door.count("pgqueuer", "entrypoint = 'event'") == 0


async def test_another_fact_under_a_known_id_is_kept_with_its_error(door: Door) -> None:
    await publish(door, FACTS["answer.created"])
    strange = [
        event("answer.created", ANSWER | {"answererId": "w"}),
        event("question.created", {"questionId": "q1", "userId": "w"}),
    ]
    for one in strange:
        assert (await publish(door, one)).body == {"accepted": 1, "duplicates": 0}
    assert await door.count("inbox_events", "error LIKE 'CONFLICT%'") == 2
    assert await door.count("answers") == await door.count("questions") == 1


async def test_of_two_events_with_one_fact_at_once_one_is_a_duplicate(door: Door) -> None:
    await publish(door, event("question.created", {"questionId": "q1", "userId": "u"}))
    both = [publish(door, event("answer.created", ANSWER)) for _ in range(6)]
    accepted = [reply.body["accepted"] for reply in await asyncio.gather(*both)]
    assert sorted(accepted) == [0] * 5 + [1]
    assert await door.count("answers") == await door.count("notifications") == 1


async def test_an_entry_that_fails_holds_nobody_up(door: Door, record_property: Seen) -> None:
    """By an error of a code, and by one that nobody foresaw: the store refuses a row."""
    await door.domain.pool.execute(
        "ALTER TABLE questions ADD CONSTRAINT unforeseen CHECK (id <> 'broken')"
    )
    batch = [
        event("user.updated", {"userId": "b0"}),
        event("question.created", {"questionId": "broken", "userId": "half"}),
        event("user.updated", {"userId": "b1"}),
        event("answer.created", ANSWER),
        event("user.updated", {"userId": "b2"}),
    ]
    reply = await publish(door, batch)
    assert (reply.status, reply.body) == (202, {"accepted": 5, "duplicates": 0})
    kept = await door.domain.pool.fetch("SELECT event_type, error FROM inbox_events ORDER BY 1")
    errors = {row["event_type"]: row["error"] for row in kept}
    assert errors["question.created"] == "INTERNAL: CheckViolationError"
    assert errors["answer.created"].startswith("NOT_FOUND")
    assert errors["user.updated"] is None
    assert await door.count("users", "id IN ('b0', 'b1', 'b2')") == 3
    assert await door.count("users", "id = 'half'") == 0
    assert await door.count("pgqueuer", "entrypoint = 'event'") == 2, "a job tries both again"
    again = await publish(door, batch)
    assert (again.status, again.body) == (202, {"accepted": 0, "duplicates": 5})
    record_property("seen", "2 of 5 entries fail: kept with their errors, 3 applied, 202")


async def test_a_list_is_refused_whole_for_its_forms(door: Door) -> None:
    for bad in (
        event("user.updated", {"userId": "x", "locationConsentAt": EDGE}),
        event("user.updated", {"userId": "a\x00"}),
        event("answer.created", ANSWER | {"createdAt": "9999-12-31T23:59:59Z"}),
        event("user.promoted", {"userId": "x"}),
    ):
        assert refused(await publish(door, [event("user.updated", {"userId": "x"}), bad]))
    assert await door.count("inbox_events") == await door.count("users") == 0


async def test_points_without_end_have_a_balance(door: Door) -> None:
    """More than a 32-bit sum holds."""
    await door.domain.pool.execute("INSERT INTO users (id, nickname) VALUES ('v', 'v')")
    await door.domain.pool.execute(
        "INSERT INTO point_transactions (user_id, amount, reason, answer_id)"
        " SELECT 'v', 2000000000, 'x', n::text FROM generate_series(1, 3) n"
    )
    batch = [one | {"eventId": str(uuid4())} for one in FACTS["answer.accepted"]]
    assert (await publish(door, batch)).status == 202
    assert await door.count("inbox_events", "error IS NOT NULL") == 0
    assert await door.count("point_transactions", "amount = 7") == 1


@pytest.mark.fault(16)
async def test_a_callers_kinds_make_no_series_and_no_endless_message(
    door: Door, record_property: Seen
) -> None:
    for number in range(30):
        assert (await note(door, kind=f"Order-{number}")).status == 202
    for kind in ("ｓａｌｅ", "SALE", "sale\u200b"):
        assert (await note(door, kind=kind)).status == 202
    labels = {
        sample.labels["kind"]
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "notifications_total"
    }
    assert not {label for label in labels if "order" in label.lower() or "sale" in label}
    count = (await door.call("GET", f"{PREFIX}/notifications/u/unread-count", as_="u")).body
    assert count["count"] == sum(count["byKind"].values()) == 33
    assert len(count["byKind"]) == 20
    assert (count["byKind"]["sale"], count["byKind"]["other"]) == (3, 33 - 3 - 18)
    listed = await door.call("GET", f"{PREFIX}/notifications/u?kind=Sale", as_="u")
    assert len(listed.body["items"]) == 3
    record_property("seen", f"33 notifications of 31 kinds: labels {sorted(labels)}, byKind of 20")


@pytest.mark.fault(16)
async def test_the_hubs_own_kind_is_its_own_in_any_spelling(door: Door) -> None:
    for kind in ("question_urgent", "Question_Urgent", "ｑuestion_urgent", "question_urgent\u200b"):
        assert refused(await note(door, kind=kind))


@pytest.mark.fault(16)
async def test_one_word_in_any_normal_form_finds_its_questions(
    door: Door, record_property: Seen
) -> None:
    spellings = ["약국", unicodedata.normalize("NFD", "약국"), "#약\u200b국", "＃약국"]
    for number, spelling in enumerate(spellings):
        fact = {"questionId": f"q{number}", "userId": "u", "hashtags": [spelling]}
        await publish(door, event("question.created", fact))
    for spelling in spellings:
        url = URL(f"{door.url}{PREFIX}/questions").with_query(hashtags=spelling)
        assert (await door.call("GET", str(url))).body["pagination"]["total"] == 4, ascii(spelling)
    tags = await door.domain.pool.fetch("SELECT DISTINCT hashtags FROM questions")
    assert [row["hashtags"] for row in tags] == [["약국"]]
    record_property("seen", "4 spellings of 약국 find 4 questions each")


async def test_no_line_of_the_access_log_is_lost(
    door: Door, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    runner, url = await serve(door.domain, settings, access="all")
    async with ClientSession() as http:
        loud = Door(url, door.domain, http, door.key)
        await heard(loud, b"GET /api/v1/regions HTTP/1.1\r\nUser-Agent: caf\xe9\r\n")
        await heard(loud, b"GET /api/v1/questions/%ED%A0%80 HTTP/1.1\r\n")
    await runner.close()
    assert "Logging error" not in capsys.readouterr().err


async def test_an_old_time_of_a_fact_is_refused_as_a_future_one(door: Door) -> None:
    early = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert (
        await publish(door, event("user.updated", {"userId": "u"}, occurredAt=early))
    ).status == 202
    for at in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        assert refused(await publish(door, event("user.updated", {"userId": "u"}, occurredAt=at)))
        for name in ("createdAt",):
            fact = event("answer.created", ANSWER | {name: at})
            assert refused(await publish(door, fact))
        consent = {"userId": "u", "locationConsentAt": at}
        assert refused(await publish(door, event("user.updated", consent)))


def series() -> set[tuple[str, ...]]:
    return {
        (sample.name, *sample.labels.values())
        for metric in REGISTRY.collect()
        for sample in metric.samples
    }


@pytest.mark.fault(16)
async def test_nothing_a_caller_chooses_becomes_a_label(door: Door, record_property: Seen) -> None:
    """Method, path, room, event, event type, kind, category, platform, scope of a key."""

    async def everything(mark: str) -> None:
        word = f"{mark}-{secrets.token_hex(4)}"
        await door.call(f"X{word.upper()}", f"/{word}")
        await door.call("GET", f"{PREFIX}/questions/{word}?{word}=1")
        await door.call("GET", f"{PREFIX}/questions?category={word}&hashtags={word}&region={word}")
        await note(door, kind=word, userId=word, dedupKey=word)
        path = f"{PREFIX}/rooms/region:{word}/broadcasts"
        await door.call("POST", path, {"event": word, "data": {word: word}}, as_=door.key)
        await publish(door, event(word, {"userId": word}))
        await publish(door, event("user.updated", {"userId": word, "role": word}))
        await publish(door, event("question.closed", {"questionId": word}))
        await door.call("POST", f"{PREFIX}/devices", {"platform": word, "token": word}, as_=word)
        await door.call("GET", f"{PREFIX}/devices", headers={"Authorization": f"{word} {word}"})

    await everything("first")
    before = series()
    for _ in range(5):
        await everything("later")
    assert series() == before
    assert not [one for one in before if "first-" in "".join(one).lower()]
    record_property("seen", "6 rounds of names of a caller's: no new series after the first")
