"""The table of FCM's answers: what each means for the message, the token and the next try.

Source: FCM HTTP v1 reference, `ErrorCode`; google.rpc.Status, BadRequest, RetryInfo.
"""

import email.utils
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from workers.senders.outcome import Outcome, Permanent, Temporary

_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
_NOT_A_TOKEN: Final = "The registration token is not a valid FCM registration token"  # noqa: S105
_QUOTA_WAIT_S: Final = 60.0  # "If Retry-After is not set, default to 60 seconds"
MAX_RETRY_AFTER_S: Final = 3600.0

_DEAD_TOKEN: Final = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH"})
# Of this message only: another device's push may still pass, so the breaker has no part in it.
_THIS_MESSAGE: Final = frozenset({"INVALID_ARGUMENT", "THIRD_PARTY_AUTH_ERROR"})
_KNOWN: Final = (
    _DEAD_TOKEN
    | _THIS_MESSAGE
    | {
        "QUOTA_EXCEEDED",
        "UNAVAILABLE",
        "INTERNAL",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "NOT_FOUND",
        "RESOURCE_EXHAUSTED",
    }
)


def classify(status: int, headers: Mapping[str, str], body: Any, now: datetime) -> Outcome:
    """The outcome of a messages:send that was answered with anything but 200.

    An answer that is about our credentials or our project is temporary: the message is right, an
    operator mends the rest, and the job stays to be put back. A code we do not know is named by
    its status, so that no text of a provider becomes a label or a stored value.
    """
    error = _object(body).get("error")
    code = _error_code(_object(error)) or f"http_{status}"
    if code in _DEAD_TOKEN:
        return Permanent(code, token_dead=True)
    if code in _THIS_MESSAGE:
        dead = code == "INVALID_ARGUMENT" and _names_the_token(_object(error))
        return Permanent(code, token_dead=dead)
    wait = retry_after(headers.get("Retry-After"), now)
    if status == 429 and wait is None:
        wait = _QUOTA_WAIT_S
    return Temporary(code, wait) if _worth_a_retry(status) else Permanent(code)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, from either form of RFC 9110 §10.2.3; None for anything else, an hour at most."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return min(max(0.0, (at - now).total_seconds()), MAX_RETRY_AFTER_S)


def _worth_a_retry(status: int) -> bool:
    """Also a 404 or 403 without a code of FCM's: a wrong project or role, not a dead token."""
    return status in {401, 403, 404, 408, 409, 425, 429} or status >= 500 or status < 400


def _error_code(error: dict[str, Any]) -> str | None:
    found = [d.get("errorCode") for d in _details(error, _FCM_ERROR)] + [error.get("status")]
    return next((code for code in found if isinstance(code, str) and code in _KNOWN), None)


def _names_the_token(error: dict[str, Any]) -> bool:
    """A token that is none comes as 400, not as 404, and in two forms: with the field named, or
    (documented, and what is sent today) without BadRequest and with one fixed sentence."""
    if error.get("message") == _NOT_A_TOKEN:
        return True
    return any(
        _object(violation).get("field") == "message.token"
        for detail in _details(error, _BAD_REQUEST)
        for violation in _list(detail.get("fieldViolations"))
    )


def _details(error: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [_object(detail) for detail in _list(error.get("details"))]
    return [detail for detail in found if detail.get("@type") == kind]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
