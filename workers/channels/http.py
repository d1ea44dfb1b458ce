"""Reads what a provider answered over HTTP, and never more than it may say."""

import email.utils
import json
import re
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

MAX_ANSWER_BYTES: Final = 65_536
MAX_RETRY_AFTER_S: Final = 3600.0


async def answer_json(response: aiohttp.ClientResponse) -> Any:
    """The JSON of the answer; None when it is no JSON (a proxy's page) or longer than 64 KiB."""
    raw = bytearray()
    async for chunk in response.content.iter_chunked(8192):
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            response.close()
            return None
    try:
        return json.loads(bytes(raw))
    except ValueError:
        return None


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, an hour at most; None for what is neither form of RFC 9110 §10.2.3.

    All three forms of a date are taken (§5.6.7); the one without a zone is in UTC.
    """
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,400}", value):
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), MAX_RETRY_AFTER_S)
