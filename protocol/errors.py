"""The closed list of errors: code, HTTP status, try again or not, and the sentence people read."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Code(StrEnum):
    UNAUTHENTICATED = "UNAUTHENTICATED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - the name of an error, no secret
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    INVALID_PAYLOAD = "INVALID_PAYLOAD"
    RATE_LIMITED = "RATE_LIMITED"
    CONFLICT = "CONFLICT"
    ROOM_LIMIT = "ROOM_LIMIT"
    UNAVAILABLE = "UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the table: `connect` is what happens when a socket's handshake meets it."""

    status: int
    retry: bool
    connect: str
    sentence: str


_REFUSED = "CONNECT_ERROR"  # the client stays away: waiting does not help
_BELOW = "503 below Socket.IO"  # the client comes back by itself

ERRORS: Final[dict[Code, ErrorSpec]] = {
    Code.UNAUTHENTICATED: ErrorSpec(401, False, _REFUSED, "A valid access token is needed."),
    Code.TOKEN_EXPIRED: ErrorSpec(401, False, _REFUSED, "The token has expired: fetch a new one."),
    Code.TOKEN_REVOKED: ErrorSpec(401, False, _REFUSED, "The token was revoked: sign in again."),
    Code.FORBIDDEN: ErrorSpec(403, False, _REFUSED, "This is not allowed for this caller."),
    Code.NOT_FOUND: ErrorSpec(404, False, "-", "There is no such thing."),
    Code.INVALID_PAYLOAD: ErrorSpec(400, False, "-", "The payload is not of the required form."),
    Code.RATE_LIMITED: ErrorSpec(429, True, _BELOW, "Too many calls: wait for retryAfterMs."),
    Code.CONFLICT: ErrorSpec(409, False, "-", "The state of the thing does not allow this."),
    Code.ROOM_LIMIT: ErrorSpec(409, False, "-", "No more rooms for this socket."),
    Code.UNAVAILABLE: ErrorSpec(503, True, _BELOW, "A part we depend on is away: try again."),
    Code.SHUTTING_DOWN: ErrorSpec(503, True, _BELOW, "This node is going away: connect again."),
    Code.INTERNAL: ErrorSpec(500, True, _BELOW, "Something failed here; it was recorded."),
}


class HubError(Exception):
    """An error with a code of the closed list; every door turns it into its coded answer.

    `message` is shown to the caller: it never holds a secret, a coordinate or somebody's text.
    """

    def __init__(
        self,
        code: Code,
        message: str | None = None,
        *,
        retry_after_ms: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.message = message or ERRORS[code].sentence
        self.retry_after_ms = retry_after_ms
        self.details = details
        super().__init__(f"{code}: {self.message}")

    @property
    def status(self) -> int:
        return ERRORS[self.code].status

    def body(self, request_id: str) -> dict[str, Any]:
        """`{code, message, details?, retryAfterMs?, requestId}`, the same on REST and sockets."""
        body: dict[str, Any] = {"code": self.code.value, "message": self.message}
        if self.details is not None:
            body["details"] = self.details
        if self.retry_after_ms is not None:
            body["retryAfterMs"] = self.retry_after_ms
        body["requestId"] = request_id
        return body


def invalid(message: str, **details: Any) -> HubError:
    return HubError(Code.INVALID_PAYLOAD, message, details=details or None)


def not_found(what: str) -> HubError:
    return HubError(Code.NOT_FOUND, f"There is no such {what}.")


def forbidden(message: str) -> HubError:
    return HubError(Code.FORBIDDEN, message)


def conflict(message: str) -> HubError:
    return HubError(Code.CONFLICT, message)


def unavailable(message: str = "", *, retry_after_ms: int = 1000) -> HubError:
    return HubError(Code.UNAVAILABLE, message or None, retry_after_ms=retry_after_ms)


def code_of_status(status: int) -> Code:
    """Of what HTTP itself refuses by a 4xx: 404 and 405 are NOT_FOUND, everything else about a
    request's form INVALID_PAYLOAD."""
    return Code.NOT_FOUND if status in (404, 405) else Code.INVALID_PAYLOAD
