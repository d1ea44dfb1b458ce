"""The table of FCM's answers: what each means for the message, the token and the next try.

Source: FCM HTTP v1 reference, `ErrorCode`; "Scale up with FCM"; google.rpc.Code, Status,
BadRequest, QuotaFailure, RetryInfo.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from workers.channels.http import MAX_RETRY_AFTER_S, retry_after
from workers.channels.outcome import Act, Outcome

_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE: Final = "type.googleapis.com/google.rpc.QuotaFailure"
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_NOT_A_TOKEN: Final = "The registration token is not a valid FCM registration token"  # noqa: S105
_ONE_DEVICE: Final = re.compile(r"\bdevice", re.IGNORECASE)
_QUOTA_WAIT_S: Final = 60.0  # "If Retry-After is not set, default to 60 seconds"

ERROR_CODES: Final[dict[str, Act]] = {
    "UNREGISTERED": Act.PRUNE,
    "INVALID_ARGUMENT": Act.DROP,  # a token that is none: see _names_the_token
    "SENDER_ID_MISMATCH": Act.ALARM,  # our key is another project's; the device is well
    "THIRD_PARTY_AUTH_ERROR": Act.ALARM,  # the APNs or VAPID key that FCM holds for us
    "QUOTA_EXCEEDED": Act.RETRY,  # of one device: see _of_one_device
    "UNAVAILABLE": Act.RETRY,
    "INTERNAL": Act.RETRY,
    "UNSPECIFIED_ERROR": Act.RETRY,
}
"""FcmError.errorCode: all that are documented."""

STATUSES: Final[dict[str, Act]] = {
    "INVALID_ARGUMENT": Act.DROP,
    "FAILED_PRECONDITION": Act.DROP,
    "OUT_OF_RANGE": Act.DROP,
    "UNAUTHENTICATED": Act.ALARM,
    "PERMISSION_DENIED": Act.ALARM,  # a role is missing, or the API is switched off
    "NOT_FOUND": Act.ALARM,  # the project: a dead token says UNREGISTERED
    "UNIMPLEMENTED": Act.ALARM,
    "ABORTED": Act.RETRY,
    "CANCELLED": Act.RETRY,
    "RESOURCE_EXHAUSTED": Act.RETRY,
    "INTERNAL": Act.RETRY,
    "UNKNOWN": Act.RETRY,
    "DATA_LOSS": Act.RETRY,
    "UNAVAILABLE": Act.RETRY,
    "DEADLINE_EXCEEDED": Act.RETRY,
}
"""google.rpc.Code, where no FcmError says more."""

_BY_HTTP: Final[dict[int, Act]] = {
    **dict.fromkeys((401, 402, 403, 404, 405, 407, 501), Act.ALARM),
    **dict.fromkeys((408, 409, 425, 429), Act.RETRY),
}
"""Where no code is known: of 4xx the rest is about this message, anything else is theirs."""


def classify(status: int, headers: Mapping[str, str], body: Any, now: datetime) -> Outcome:
    """The outcome of a messages:send that was answered with anything but 200.

    A code we do not know is named by its status, so that no text of a provider becomes a label or
    a stored value.
    """
    error = _object(_object(body).get("error"))
    code, act = _read(status, error)
    if act is Act.DROP and _names_the_token(error):
        act = Act.PRUNE
    if act is not Act.RETRY:
        return act.outcome(code)
    wait = _wait_s(headers, error, now)
    if status == 429:
        wait = _QUOTA_WAIT_S if wait is None else wait
        act = Act.PAUSE if _of_one_device(error) else act
    return act.outcome(code, wait)


def refuses_bearer(status: int, body: Any) -> bool:
    """Whether a 401 is about the access token, and not about a third party's key (APNs, VAPID)."""
    error = _object(_object(body).get("error"))
    return status == 401 and _read(status, error)[0] != "THIRD_PARTY_AUTH_ERROR"


def _read(status: int, error: dict[str, Any]) -> tuple[str, Act]:
    for detail in _details(error, _FCM_ERROR):
        code = detail.get("errorCode")
        if isinstance(code, str) and code in ERROR_CODES:
            return code, ERROR_CODES[code]
    name = error.get("status")
    if isinstance(name, str) and name in STATUSES:
        return name, STATUSES[name]
    other = Act.DROP if 400 <= status < 500 else Act.RETRY
    return f"http_{status}", _BY_HTTP.get(status, other)


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


def _of_one_device(error: dict[str, Any]) -> bool:
    """Whether the quota is that of the device alone ("Device message rate exceeded").

    Without a QuotaFailure the error's own sentence is read, and a quota that names nobody is the
    project's.
    """
    named = [text for violation in _violations(error) for text in violation]
    message = error.get("message")
    texts = named or ([message] if isinstance(message, str) else [])
    return any(_ONE_DEVICE.search(text) for text in texts)


def _violations(error: dict[str, Any]) -> Iterator[list[str]]:
    for detail in _details(error, _QUOTA_FAILURE):
        for violation in _list(detail.get("violations")):
            fields = _object(violation)
            yield [v for k in ("subject", "description") if isinstance(v := fields.get(k), str)]


def _wait_s(headers: Mapping[str, str], error: dict[str, Any], now: datetime) -> float | None:
    """The longer of Retry-After and RetryInfo (a protobuf Duration, "30s"); None without both."""
    waits = [retry_after(headers.get("Retry-After"), now)]
    for detail in _details(error, _RETRY_INFO):
        delay = detail.get("retryDelay")
        found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s", str(delay))
        waits.append(min(float(found[1]), MAX_RETRY_AFTER_S) if found else None)
    return max((wait for wait in waits if wait is not None), default=None)


def _details(error: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [_object(detail) for detail in _list(error.get("details"))]
    return [detail for detail in found if detail.get("@type") == kind]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
