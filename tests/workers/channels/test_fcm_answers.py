"""Recorded answers of FCM and what each means. Sources: Firebase's "REST error codes" page and the
ErrorCode reference; firebase-admin-java issue 1064 for the form without a named field."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import fcm_schema as fcm
from workers.channels.fcm.answers import ERROR_CODES, classify, refuses_bearer
from workers.channels.http import retry_after
from workers.channels.outcome import About, Act, Outcome, Permanent, Temporary

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
US, RECIPIENT = About.US, About.RECIPIENT
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


def quota(subject: str, description: str) -> dict[str, Any]:
    violation = {"subject": subject, "description": description}
    kind = "type.googleapis.com/google.rpc.QuotaFailure"
    detail = {"@type": kind, "violations": [violation]}
    code = fcm.fcm_detail("QUOTA_EXCEEDED")
    return fcm.error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", code, detail)


BAD_DATA = fcm.error(
    400,
    "INVALID_ARGUMENT",
    "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
    {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "message.data[0].value", "description": "TYPE_STRING"}],
    },
)
RECORDED: list[tuple[Any, Outcome]] = [
    (fcm.UNREGISTERED, Permanent("UNREGISTERED", token_dead=True)),
    (fcm.NOT_A_TOKEN, Permanent("INVALID_ARGUMENT", token_dead=True)),
    (fcm.NOT_A_TOKEN_WITH_FIELD, Permanent("INVALID_ARGUMENT", token_dead=True)),
    (fcm.WRONG_SENDER, Temporary("SENDER_ID_MISMATCH", about=US)),
    (BAD_DATA, Permanent("INVALID_ARGUMENT")),
    (fcm.NO_APNS_KEY, Temporary("THIRD_PARTY_AUTH_ERROR", about=US)),
    (fcm.NO_BEARER, Temporary("UNAUTHENTICATED", about=US)),
    (fcm.QUOTA, Temporary("QUOTA_EXCEEDED", 60.0)),
    (fcm.DEVICE_QUOTA, Temporary("QUOTA_EXCEEDED", 60.0, About.RECIPIENT)),
    (quota("device:dQw4", ""), Temporary("QUOTA_EXCEEDED", 60.0, About.RECIPIENT)),
    (quota("", "Device message rate exceeded"), Temporary("QUOTA_EXCEEDED", 60.0, RECIPIENT)),
    (quota("project:lab", "Message rate exceeded"), Temporary("QUOTA_EXCEEDED", 60.0)),
    (
        fcm.error(429, "RESOURCE_EXHAUSTED", "Device message rate exceeded"),
        Temporary("RESOURCE_EXHAUSTED", 60.0, RECIPIENT),
    ),
    (
        fcm.error(503, "UNAVAILABLE", "x", {"@type": RETRY_INFO, "retryDelay": "12.5s"}),
        Temporary("UNAVAILABLE", 12.5),
    ),
    (fcm.error(503, "x", "", {"@type": RETRY_INFO, "retryDelay": "soon"}), Temporary("http_503")),
    ({"error": {"code": 401}}, Temporary("http_401", about=US)),
    ({"error": {"code": 405}}, Temporary("http_405", about=US)),
    ({"error": {"code": 400}}, Permanent("http_400")),
    (fcm.AWAY, Temporary("UNAVAILABLE")),
    (fcm.BROKEN, Temporary("INTERNAL")),
    (fcm.error(404, "NOT_FOUND", "no such project"), Temporary("NOT_FOUND", about=US)),
    (
        fcm.error(403, "PERMISSION_DENIED", "role is missing"),
        Temporary("PERMISSION_DENIED", about=US),
    ),
    (fcm.error(413, "SOMETHING_NEW", "secret text"), Permanent("http_413")),
]


@pytest.mark.fault(14)
def test_every_documented_error_code_says_what_to_do() -> None:
    assert ERROR_CODES == {
        "UNSPECIFIED_ERROR": Act.RETRY,
        "INVALID_ARGUMENT": Act.DROP,
        "UNREGISTERED": Act.PRUNE,
        "SENDER_ID_MISMATCH": Act.ALARM,
        "QUOTA_EXCEEDED": Act.RETRY,
        "UNAVAILABLE": Act.RETRY,
        "INTERNAL": Act.RETRY,
        "THIRD_PARTY_AUTH_ERROR": Act.ALARM,
    }


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("body", "ours"),
    [(fcm.NO_BEARER, True), (fcm.NO_APNS_KEY, False), (fcm.WRONG_SENDER, False), (None, False)],
)
def test_only_a_401_of_googles_own_is_about_our_bearer(body: Any, ours: bool) -> None:
    status = body["error"]["code"] if body else 403
    assert refuses_bearer(status, body) is ours


@pytest.mark.fault(14)
@pytest.mark.parametrize(("body", "outcome"), RECORDED, ids=lambda value: str(value)[:70])
def test_recorded_answers(body: Any, outcome: Outcome) -> None:
    assert classify(body["error"]["code"], {}, body, NOW) == outcome


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "details", "status", "@type", "errorCode", "message"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(status=st.integers(201, 599), body=json_values, wait=st.none() | st.text(max_size=40))
def test_no_answer_breaks_the_table_or_kills_a_token_by_chance(
    status: int, body: Any, wait: str | None
) -> None:
    headers = {} if wait is None else {"Retry-After": wait}
    outcome = classify(status, headers, body, NOW)
    assert isinstance(outcome, Temporary | Permanent)
    assert outcome.code.isascii()
    assert len(outcome.code) < 40
    assert not isinstance(outcome, Permanent) or not outcome.token_dead


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("999999", 3600.0),
        ("Sat, 21 Nov 2026 09:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 08:00:00 GMT", 0.0),
        ("soon", None),
        ("9" * 30, 3600.0),
        ("Saturday, 21-Nov-26 09:00:30 GMT", 30.0),
        ("Sat Nov 21 09:00:30 2026", 30.0),
        ("Sat, 21 Nov 2026 10:00:30 +0100", 30.0),
        ("٣", None),
        ("-5", None),
        ("1.5", None),
        ("Sat, 99 Nov 2026 09:00:30 GMT", None),
    ],
)
def test_retry_after_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds
