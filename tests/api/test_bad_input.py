"""What a stranger may send: each gets its coded error, is counted, and changes nothing."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from tests.api.conftest import JEJU, PREFIX, Door, errors_counted

QUESTIONS = f"{PREFIX}/questions"
GOOD = {"title": "약국", "content": "어디?"}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"deeper": value}
    return value


def raw(**changes: str) -> bytes:
    """The good body with values given as JSON text, whatever json.dumps would refuse."""
    fields = {name: json.dumps(value) for name, value in GOOD.items()} | changes
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


BAD_BODIES = {
    "NaN": raw(lat="NaN", lng="126.5"),
    "infinity": raw(lat="1e999", lng="126.5"),
    "latitude out of range": raw(lat="90.001", lng="126.5"),
    "longitude out of range": raw(lat="33.5", lng="-180.5"),
    "coordinate as text": raw(lat='"33.5"', lng="126.5"),
    "control characters": raw(title=r'"a\u0000b\u0007"'),
    "control characters unescaped": raw(title='"a\x01b"'),
    "control characters in a list": raw(hashtags=r'["\u001b[2J"]'),
    "half a surrogate pair": raw(content=r'"\ud800"'),
    "not UTF-8": b'{"title":"\xff\xfe","content":"x"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "number for text": raw(title="7"),
    "text for list": raw(hashtags='"a"'),
    "list for object": b"[1,2]",
    "null": b"null",
    "a word": b'"hello"',
    "no JSON": b"title=x",
    "half a JSON": b'{"title":"x"',
    "nothing": b"",
    "unknown field": raw(extra="1"),
    "unknown urgency": raw(urgency='"panic"'),
    "empty title": raw(title='""'),
    "title too long": raw(title=json.dumps("x" * 201)),
    "too many hashtags": raw(hashtags=json.dumps(["x"] * 11)),
    "deep nesting": raw(extra=json.dumps(nested(40))),
    "hostile nesting": b"[" * 200_000,
    "very many values": json.dumps([1] * 50_000).encode(),
    "urgent without a place": raw(urgency='"urgent"'),
    "urgent with half a place": raw(urgency='"urgent"', lat="33.5"),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
@pytest.mark.refused
async def test_a_bad_body_is_refused_counted_and_changes_nothing(door: Door, body: bytes) -> None:
    before = errors_counted("INVALID_PAYLOAD")
    reply = await door.call(
        "POST", QUESTIONS, data=body, as_="asker", headers={"Content-Type": "application/json"}
    )
    assert (reply.status, reply.code) == (400, "INVALID_PAYLOAD")
    assert reply.body["error"]["requestId"] == reply.headers["X-Request-ID"]
    assert errors_counted("INVALID_PAYLOAD") == before + 1
    assert await door.count("questions") == await door.count("outbox") == 0


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
@pytest.mark.refused
async def test_ten_megabytes_are_refused(door: Door, told: bool) -> None:
    size = 10 * 1024 * 1024

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // 65536):
            yield b"x" * 65536

    reply = await door.call(
        "POST",
        QUESTIONS,
        data=io.BytesIO(b"x" * size) if told else chunks(),
        as_="asker",
        headers={"Content-Type": "application/json"},
    )
    assert (reply.status, reply.code) == (413, "INVALID_PAYLOAD")
    assert await door.count("questions") == 0
    assert (await door.call("GET", QUESTIONS)).status == 200


@pytest.mark.parametrize(("length", "first"), [(10 << 20, 413), (len(raw()), 100)])
async def test_a_caller_who_asks_first_is_told_before_sending(
    door: Door, length: int, first: int
) -> None:
    """RFC 9110 §10.1.1: a body that would be refused is not called for."""
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {QUESTIONS} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n"
        "Content-Type: application/json\r\nExpect: 100-continue\r\n"
        f"Authorization: Bearer {door.token('asker')}\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {first} ".encode())
        if first == 100:
            writer.write(raw())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 201 ")
    writer.close()


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_another_media_type_is_refused(door: Door, media: str) -> None:
    reply = await door.call(
        "POST", QUESTIONS, data=raw(), as_="asker", headers={"Content-Type": media}
    )
    assert (reply.status, reply.code) == (415, "INVALID_PAYLOAD")


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=501", "page=x", "sortBy=popularity2", "unknown=1", "page=1&page=2",
     "region=", "category=%00", "hashtags=%ff%fe"],
)  # fmt: skip
async def test_a_bad_query_is_refused(door: Door, query: str) -> None:
    url = f"{door.url}{QUESTIONS}?{query}"
    async with door.http.get(URL(url, encoded=True)) as answer:
        code = (await answer.json())["error"]["code"] if answer.status != 200 else None
    if query == "hashtags=%ff%fe":  # decoded to replacement characters: text like any other
        assert answer.status == 200
    else:
        assert (answer.status, code) == (400, "INVALID_PAYLOAD")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/questions/%00", 400),
        ("/api/v1/questions/" + "x" * 600, 400),
        ("/api/v1/questions/none", 404),
        ("/api/v1/questions/a%2Fb", 404),
        ("/api/v1/questions/..%2F..%2Fetc%2Fpasswd", 404),
        ("/api/v1/questions/'; DROP TABLE questions --", 404),
        ("/api/v1/none", 404),
        ("/api/v2/questions", 404),
        ("/", 404),
    ],
)
async def test_a_bad_path_is_refused(door: Door, path: str, status: int) -> None:
    reply = await door.call("GET", path)
    expected = "NOT_FOUND" if status == 404 else "INVALID_PAYLOAD"
    assert (reply.status, reply.code) == (status, expected)


async def test_another_method_is_refused(door: Door) -> None:
    reply = await door.call("PATCH", QUESTIONS, GOOD, as_="asker")
    assert (reply.status, reply.code) == (405, "NOT_FOUND")
    assert reply.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.refused
async def test_tokens_are_checked(door: Door) -> None:
    good = door.token("asker")
    head, claims, signature = good.split(".")
    expired = door.token("asker", ttl_s=-1)
    cases = {
        None: "UNAUTHENTICATED",
        "Bearer ": "UNAUTHENTICATED",
        "Basic YTpi": "UNAUTHENTICATED",
        f"Bearer {head}.{claims}.{signature[:-4]}AAAA": "UNAUTHENTICATED",
        f"Bearer {head}.{claims}.": "UNAUTHENTICATED",
        "Bearer eyJhbGciOiJub25lIn0." + claims + ".": "UNAUTHENTICATED",
        f"Bearer {'x' * 5000}": "UNAUTHENTICATED",
        "Bearer dk_qa-service.wrong": "UNAUTHENTICATED",
        f"Bearer {expired}": "TOKEN_EXPIRED",
        f"Bearer {door.key}": "FORBIDDEN",
    }
    for header, code in cases.items():
        before = errors_counted(code)
        headers = {} if header is None else {"Authorization": header}
        reply = await door.call("POST", QUESTIONS, GOOD, headers=headers)
        assert reply.code == code, header
        assert reply.status == (403 if code == "FORBIDDEN" else 401)
        assert ("WWW-Authenticate" in reply.headers) == (reply.status == 401)
        assert errors_counted(code) == before + 1
    assert await door.count("questions") == 0


async def test_a_revoked_token_is_refused(door: Door) -> None:
    d, token = door.domain, door.token("asker")
    await d.redis.set(d.keys.revoked("asker"), int(d.now().timestamp() * 1000) + 1)
    reply = await door.call("POST", QUESTIONS, GOOD, as_=token)
    assert (reply.status, reply.code) == (401, "TOKEN_REVOKED")
    await asyncio.sleep(0.005)  # the stamp has whole milliseconds
    assert (await door.call("POST", QUESTIONS, GOOD, as_="asker")).status == 201


async def test_a_closed_question_takes_no_answer(door: Door) -> None:
    question = await door.ask()
    closed = await door.call(
        "PUT", f"{QUESTIONS}/{question['id']}", {"status": "closed"}, as_="asker"
    )
    assert (closed.status, closed.body["status"]) == (200, "closed")
    body = {"questionId": question["id"], "content": "늦었네요"}
    for who in ("asker", "answerer"):
        reply = await door.call("POST", f"{PREFIX}/answers", body, as_=who)
        assert (reply.status, reply.code) == (409, "CONFLICT")
    again = await door.call(
        "PUT", f"{QUESTIONS}/{question['id']}", {"status": "closed"}, as_="asker"
    )
    assert (again.status, again.code) == (409, "CONFLICT")
    assert await door.count("answers") == 0


async def test_only_the_asker_accepts_and_only_once(door: Door) -> None:
    question = await door.ask()
    first = await door.answer(question["id"], "haru")
    second = await door.answer(question["id"], "bora")
    own = await door.answer(question["id"], "asker")

    async def accept(answer: dict[str, Any], who: str) -> tuple[int, str | None]:
        reply = await door.call("PUT", f"{PREFIX}/answers/{answer['id']}/accept", as_=who)
        return reply.status, reply.code

    assert await accept(first, "stranger") == (403, "FORBIDDEN")
    assert await accept(first, "haru") == (403, "FORBIDDEN")
    assert await accept({"id": "none"}, "asker") == (404, "NOT_FOUND")
    assert await accept(own, "asker") == (409, "CONFLICT")
    assert await accept(first, "asker") == (200, None)
    assert await accept(first, "asker") == (409, "CONFLICT")
    assert await accept(second, "asker") == (409, "CONFLICT")
    assert await door.count("point_transactions") == 1
    assert await door.count("answers", "is_accepted") == 1


async def test_of_two_accepts_at_once_one_wins(door: Door) -> None:
    question = await door.ask()
    rivals = [await door.answer(question["id"], who) for who in ("haru", "bora")]
    paths = [f"{PREFIX}/answers/{answer['id']}/accept" for answer in rivals] * 3
    replies = await asyncio.gather(*(door.call("PUT", path, as_="asker") for path in paths))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 5
    assert await door.count("point_transactions") == 1
    assert await door.count("notifications", "kind = 'answer_accepted'") == 1


@pytest.mark.refused
async def test_somebody_elses_things_stay_theirs(door: Door) -> None:
    question = await door.ask()
    await door.answer(question["id"])
    device = await door.call(
        "POST", f"{PREFIX}/devices", {"platform": "ios", "token": "t" * 32}, as_="asker"
    )
    cases = [
        ("PUT", f"{QUESTIONS}/{question['id']}", {"status": "closed"}, 403),
        ("DELETE", f"{QUESTIONS}/{question['id']}", None, 403),
        ("GET", f"{PREFIX}/notifications/asker", None, 403),
        ("GET", f"{PREFIX}/notifications/asker/unread-count", None, 403),
        ("DELETE", f"{PREFIX}/devices/{device.body['id']}", None, 404),
    ]
    for method, path, body, status in cases:
        reply = await door.call(method, path, body, as_="stranger")
        assert reply.status == status, path
    assert await door.count("questions", "status = 'active'") == 1
    assert await door.count("devices") == 1


async def test_a_position_needs_consent(door: Door) -> None:
    reply = await door.call("POST", f"{PREFIX}/locations", JEJU, as_="asker")
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert await door.count("user_locations") == 0


async def test_errors_never_repeat_what_was_sent(door: Door) -> None:
    secret = "my-secret-33.12345"
    replies = [
        await door.call("POST", QUESTIONS, GOOD | {"lat": secret}, as_="asker"),
        await door.call("POST", QUESTIONS, GOOD | {"urgency": secret}, as_="asker"),
        await door.call("GET", f"{QUESTIONS}/{secret}"),
        await door.call("GET", f"{QUESTIONS}?page={secret}"),
    ]
    assert all(reply.status in (400, 404) for reply in replies)
    assert not any(secret in str(reply.body) for reply in replies)
