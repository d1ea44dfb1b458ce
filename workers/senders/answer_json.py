"""Reads what a provider answered, and never more than it may say."""

import json
from typing import Any, Final

import aiohttp

MAX_ANSWER_BYTES: Final = 65_536


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
