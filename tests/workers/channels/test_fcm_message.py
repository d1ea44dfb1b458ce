"""The body of a push: every valid message is one FCM takes, and holds no more than it should."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.fcm_schema import refusal
from tests.workers.channels.conftest import push
from workers.channels.fcm.message import fcm_body
from workers.channels.outcome import seconds_left
from workers.channels.push import BODY_BYTES, apns_collapse_id, clip, topic

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)


@pytest.mark.fault(15)
@given(
    title=st.text(max_size=2000),
    body=st.text(max_size=5000),
    collapse_id=ids,
    question_id=st.none() | ids,
    answer_id=st.none() | ids,
    url=st.text(max_size=3000).map(lambda path: "https://dongne.example/" + path),
    left=st.none() | st.integers(1, 10**9),
    unread=st.integers(0, 10**6),
    silent=st.booleans(),
)
def test_whatever_people_write_fcm_takes_the_message(left: int | None, **fields: Any) -> None:
    deadline = None if left is None else NOW + timedelta(seconds=left)
    assert refusal(fcm_body("token", push(deadline_at=deadline, **fields), NOW)) is None


def test_data_is_exactly_what_the_product_says() -> None:
    message = push(answer_id="a-1", deadline_at=NOW + timedelta(seconds=90))
    data = fcm_body("token", message, NOW)["message"]["data"]
    assert data == {
        "notificationId": message.notification_id,
        "kind": "question_urgent",
        "questionId": "q-1",
        "answerId": "a-1",
        "deadlineAt": "2026-11-21T09:01:30.000Z",
        "unread": "3",
        "url": "https://dongne.example/questions/q-1",
    }


def test_times_to_live_are_whole_seconds_at_the_moment_of_sending() -> None:
    message = push(deadline_at=NOW + timedelta(seconds=600))
    later = NOW + timedelta(seconds=598, milliseconds=900)
    body = fcm_body("token", message, later)["message"]
    assert body["android"]["ttl"] == "1s"
    assert body["webpush"]["headers"]["TTL"] == "1"
    assert body["apns"]["headers"]["apns-expiration"] == str(int(NOW.timestamp()) + 600)


def test_without_a_deadline_the_provider_decides_how_long() -> None:
    body = fcm_body("token", push(), NOW)["message"]
    assert "ttl" not in body["android"]
    assert "apns-expiration" not in body["apns"]["headers"]
    assert "TTL" not in body["webpush"]["headers"]


@pytest.mark.fault(15)
@pytest.mark.parametrize("days", [27, 28, 29, 365, 365 * 900])
def test_no_time_to_live_is_over_four_weeks(
    days: int, record_property: Callable[[str, object], None]
) -> None:
    body = fcm_body("token", push(deadline_at=NOW + timedelta(days=days)), NOW)["message"]
    seconds = min(days, 28) * 86_400
    assert body["android"]["ttl"] == f"{seconds}s"
    assert body["webpush"]["headers"]["TTL"] == str(seconds)
    expires = (NOW + timedelta(seconds=seconds)).timestamp()
    assert body["apns"]["headers"]["apns-expiration"] == str(int(expires))
    record_property("seen", f"{days} days: ttl {seconds}s")


@pytest.mark.fault(15)
def test_long_ids_and_links_shorten_the_body_and_lose_no_push() -> None:
    quotes = '"' * 128  # two bytes each in JSON
    long = push(
        title='"' * 2000,
        body='"' * 5000,
        question_id=quotes,
        answer_id=quotes,
        url="https://dongne.example/" + "%22" * 600,
    )
    message = fcm_body("token", long, NOW)
    assert refusal(message) is None
    assert message["message"]["notification"]["body"].endswith("…")
    longer = push(url="https://dongne.example/" + "x" * 5000)
    message = fcm_body("token", longer, NOW)
    assert refusal(message) is None
    assert "url" not in message["message"]["data"]
    assert "fcm_options" not in message["message"]["webpush"]


def test_a_plain_http_link_is_left_out_of_web_push() -> None:
    body = fcm_body("token", push(url="http://localhost:3001/"), NOW)["message"]
    assert "fcm_options" not in body["webpush"]
    assert body["data"]["url"] == "http://localhost:3001/"


@given(st.none() | st.floats(-1e6, 1e6))
def test_seconds_left_never_promises_more_than_there_is(left: float | None) -> None:
    deadline = None if left is None else NOW + timedelta(seconds=left)
    whole = seconds_left(deadline, NOW)
    assert (whole is None) == (left is None)
    if whole is not None and deadline is not None:
        assert timedelta(0) <= deadline - NOW - timedelta(seconds=whole) < timedelta(seconds=1)


@given(st.text(), st.integers(8, 200))
def test_clip_keeps_bytes_and_characters_whole(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert len(clipped.encode()) <= limit
    if len(text.encode("utf-8", "replace")) > limit:
        assert clipped.endswith("…")


def test_a_long_korean_body_ends_with_an_ellipsis() -> None:
    clipped = clip("가" * 1000, BODY_BYTES)
    assert clipped == "가" * 340 + "…"


@given(ids)
def test_collapse_ids_fit_every_provider(collapse_id: str) -> None:
    assert len(topic(collapse_id)) == 32
    assert len(apns_collapse_id(collapse_id)) <= 64
    assert topic(collapse_id) == topic(collapse_id)
