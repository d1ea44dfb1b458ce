import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.plumbing.telemetry.redaction import CUT, Redactor
from protocol.service_keys import new_service_key

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl"
SECRET = "9k7O16WmeVgH6tZm4XnT0a+Htt8DKBdk89KerlgE3dY="


def line(**fields: Any) -> dict[str, Any]:
    found = Redactor([SECRET])(None, "info", fields)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "name",
    ["token", "accessToken", "refresh_token", "tokens", "JWT_SECRET", "password", "Authorization",
     "cookie", "apiKey", "email", "to", "recipients", "title", "body", "content", "text", "excerpt",
     "nickname", "lat", "lng", "location", "position", "accuracyM", "payload", "data", "query",
     "kakao_user_key", "subscription", "dsn"],
)  # fmt: skip
def test_private_fields_lose_their_value_at_any_depth(name: str) -> None:
    assert line(**{name: "x"}) == {name: CUT}
    assert line(outer=[{"inner": {name: 33.5}}]) == {"outer": [{"inner": {name: CUT}}]}


@pytest.mark.parametrize(
    "name",
    ["userId", "questionId", "room", "event", "statusCode", "duration", "path", "reason", "kind",
     "task", "client", "channel", "count", "neighbourhoodCode"],
)  # fmt: skip
def test_what_an_operator_needs_stays(name: str) -> None:
    assert line(**{name: "jeju-17"}) == {name: "jeju-17"}
    assert line(**{name: 17}) == {name: 17}


@pytest.mark.parametrize(
    ("text", "private"),
    [
        (f"token {JWT} is not valid", JWT),
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        (f"cannot use {SECRET}", SECRET),
        ("connecting to redis://:hunter2@cache:6379/0", "hunter2"),
        ("postgresql://hub:p%40ss@db/hub refused", "p%40ss"),
        ("Key (email)=(kim.chulsoo+jeju@naver.com) already exists", "kim.chulsoo+jeju@naver.com"),
        ("550 5.1.1 <halla@mail.jeju.kr>: user unknown", "halla@mail.jeju.kr"),
        ("point 33.4996213, 126.5311884 is outside", "33.4996213"),
        ('{"lat": 33.4996, "lng": 126.5312}', "126.5312"),
        ("lat=33 is wrong", "33"),
        ("GET /api/v1/unsubscribe/AbC-123_x.yZ", "AbC-123_x.yZ"),
        ("GET /x?token=s3cr3t&a=1", "s3cr3t"),
        ("fcm refused dGVzdGluZw12:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx", "APA91bHun4MxP5"),
        ("POST /3/device/00fc13adff785122 failed", "00fc13adff785122"),
        ("no answer of https://fcm.googleapis.com/fcm/send/dGVz:x", "dGVz"),
        ("no answer of https://updates.push.services.mozilla.com/wpush/v2/gAAA", "gAAA"),
        ("no answer of https://web.push.apple.com/QGuQyavX", "QGuQyavX"),
    ],
)
def test_private_texts_are_cut_out_of_any_field(text: str, private: str) -> None:
    found = line(event=text, error={"message": text, "stack": [text]})
    assert private not in repr(found)
    assert repr(found).count(CUT) >= 3


def test_a_service_key_is_cut() -> None:
    key, _ = new_service_key("qa-service")
    assert key not in repr(line(reason=f"bad key {key}"))


def test_ordinary_sentences_are_left_alone() -> None:
    for text in (
        "redis_connected 1", "took 0.123 s", "version 1.2.345", "2026-11-21T09:00:00.123Z",
        "user:u1 joined neighbourhood:jeju-aewol", "33 of 126 jobs", "http://127.0.0.1:3001/docs",
    ):  # fmt: skip
        assert line(event=text) == {"event": text}


def test_objects_are_judged_by_their_text() -> None:
    class Holder:
        def __repr__(self) -> str:
            return f"<Holder {JWT}>"

    assert JWT not in repr(line(held=Holder(), more={Holder()}))


def test_too_deep_is_cut() -> None:
    deep: object = "harmless"
    for _ in range(50):
        deep = [deep]
    assert "harmless" not in repr(line(deep=deep))


@pytest.mark.parametrize(
    "piece", ["a", "eyJ", "://", "lat=", "1.2345,", "a@", "token=", "a.", ": "]
)
def test_a_hostile_text_costs_little(piece: str) -> None:
    start = time.process_time()
    line(event=piece * 1_000_000)
    assert time.process_time() - start < 0.5


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_secret_in_force_is_cut_wherever_it_stands(before: str, after: str) -> None:
    assert SECRET not in repr(line(event=before + SECRET + after))
