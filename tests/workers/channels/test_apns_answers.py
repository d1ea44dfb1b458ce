"""Recorded answers of APNs and what each means. Source: Apple, "Handling notification responses
from APNs"; of a timestamp: pushes shall stop until the device registers a token after it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.apns_rules import refusal
from tests.workers.channels.conftest import push
from workers.channels.apns.answers import REASONS, classify
from workers.channels.apns.message import apns_payload
from workers.channels.outcome import About, Act, Outcome, Permanent, Temporary
from workers.channels.push import apns_headers

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
US, RECIPIENT = About.US, About.RECIPIENT
DEAD = '{"reason":"Unregistered","timestamp":1795250400123}'  # 2026-11-21 08:40:00.123 UTC
RECORDED: list[tuple[int, str, Outcome]] = [
    (400, '{"reason":"BadDeviceToken"}', Permanent("BadDeviceToken", token_dead=True)),
    (400, '{"reason":"DeviceTokenNotForTopic"}', Temporary("DeviceTokenNotForTopic", about=US)),
    (400, '{"reason":"TopicDisallowed"}', Temporary("TopicDisallowed", about=US)),
    (400, '{"reason":"BadCollapseId"}', Permanent("BadCollapseId")),
    (400, '{"reason":"IdleTimeout"}', Temporary("IdleTimeout")),
    (403, '{"reason":"ExpiredProviderToken"}', Temporary("ExpiredProviderToken", about=US)),
    (403, '{"reason":"InvalidProviderToken"}', Temporary("InvalidProviderToken", about=US)),
    (
        403,
        '{"reason":"BadEnvironmentKeyIdInToken"}',
        Temporary("BadEnvironmentKeyIdInToken", about=US),
    ),
    (404, '{"reason":"BadPath"}', Permanent("BadPath")),
    (405, '{"reason":"MethodNotAllowed"}', Temporary("MethodNotAllowed", about=US)),
    (410, DEAD, Permanent("Unregistered", token_dead=True)),
    (410, '{"reason":"ExpiredToken"}', Permanent("ExpiredToken", token_dead=True)),
    (413, '{"reason":"PayloadTooLarge"}', Permanent("PayloadTooLarge")),
    (
        429,
        '{"reason":"TooManyProviderTokenUpdates"}',
        Temporary("TooManyProviderTokenUpdates", about=US),
    ),
    (429, '{"reason":"TooManyRequests"}', Temporary("TooManyRequests", about=RECIPIENT)),
    (500, '{"reason":"InternalServerError"}', Temporary("InternalServerError")),
    (503, '{"reason":"ServiceUnavailable"}', Temporary("ServiceUnavailable")),
    (503, '{"reason":"Shutdown"}', Temporary("Shutdown")),
    # not Apple's own words: a proxy's page, half an answer, a reason of tomorrow
    (502, "<html>Bad Gateway</html>", Temporary("http_502")),
    (403, "<html>Forbidden</html>", Temporary("http_403", about=US)),
    (410, '{"reason":"Unregis', Permanent("http_410")),
    (400, '{"reason":"SomethingNew, secret text"}', Permanent("http_400")),
    (429, "", Temporary("http_429", about=RECIPIENT)),
    (200 + 1, "", Temporary("http_201")),
]


@pytest.mark.parametrize(("status", "body", "outcome"), RECORDED, ids=lambda v: str(v)[:60])
def test_recorded_answers(status: int, body: str, outcome: Outcome) -> None:
    assert classify(status, {}, body.encode(), None, NOW) == outcome


def test_every_documented_reason_says_what_to_do() -> None:
    by_act = {act: {reason for reason, a in REASONS.items() if a is act} for act in Act}
    assert by_act[Act.PRUNE] == {"BadDeviceToken", "ExpiredToken", "Unregistered"}
    assert by_act[Act.PAUSE] == {"TooManyRequests"}
    assert by_act[Act.RETRY] == {
        "IdleTimeout", "InternalServerError", "ServiceUnavailable", "Shutdown",
    }  # fmt: skip
    assert by_act[Act.DROP] == {
        "BadCollapseId", "BadExpirationDate", "BadMessageId", "BadPriority", "DuplicateHeaders",
        "InvalidPushType", "MissingDeviceToken", "PayloadEmpty", "BadPath", "PayloadTooLarge",
    }  # fmt: skip
    assert len(REASONS) == 32


@pytest.mark.parametrize(
    ("registered", "outcome"),
    [
        (-1, Permanent("Unregistered", token_dead=True)),
        (0, Permanent("Unregistered", token_dead=True)),
        (1, Temporary("Unregistered", about=RECIPIENT)),
    ],
)
def test_only_what_was_registered_before_it_died_is_dead(registered: int, outcome: Outcome) -> None:
    dead_since = datetime.fromtimestamp(1795250400.123, UTC)
    at = dead_since + timedelta(milliseconds=registered)
    assert classify(410, {}, DEAD.encode(), at, NOW) == outcome


def test_a_wait_is_kept_as_long_as_it_is_asked_for() -> None:
    body = b'{"reason":"ServiceUnavailable"}'
    found = classify(503, {"retry-after": "40"}, body, None, NOW)
    assert found == Temporary("ServiceUnavailable", 40.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["reason", "timestamp", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    status=st.integers(201, 599),
    body=st.binary(max_size=60) | json_values.map(lambda v: repr(v).encode("utf-8", "replace")),
    wait=st.none() | st.text(max_size=40),
)
def test_no_answer_breaks_the_table_or_kills_a_token_by_chance(
    status: int, body: bytes, wait: str | None
) -> None:
    headers = {} if wait is None else {"retry-after": wait}
    outcome = classify(status, headers, body, NOW, NOW)
    assert isinstance(outcome, Temporary | Permanent)
    assert outcome.code == f"http_{status}"
    assert not isinstance(outcome, Permanent) or not outcome.token_dead


@given(timestamp=json_values)
def test_a_timestamp_that_is_none_leaves_the_token_dead_or_waiting(timestamp: Any) -> None:
    try:
        body = orjson.dumps({"reason": "Unregistered", "timestamp": timestamp})
    except (TypeError, ValueError):
        return
    outcome = classify(410, {}, body, NOW, NOW)
    assert isinstance(outcome, Temporary | Permanent)
    assert outcome.code == "Unregistered"


ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)


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
def test_whatever_people_write_apns_takes_the_push(left: int | None, **fields: Any) -> None:
    deadline = None if left is None else NOW + timedelta(seconds=left)
    message = push(deadline_at=deadline, **fields)
    headers = {
        ":method": "POST",
        ":path": "/3/device/aa",
        "apns-topic": "t",
        "apns-id": message.delivery_id,
        **apns_headers(message, NOW),
    }
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert refusal(headers, apns_payload(message), "t") is None
