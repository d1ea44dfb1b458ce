"""What every error looks like."""

from typing import Any

from protocol.payload import Message


class ErrorBody(Message, omit_defaults=True):
    code: str
    message: str
    request_id: str
    details: dict[str, Any] | None = None
    retry_after_ms: int | None = None


class Failure(Message):
    """What every error looks like."""

    error: ErrorBody
