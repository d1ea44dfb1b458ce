"""A signed word to whoever is to mend something: one JSON object, posted to ALERT_WEBHOOK_URL.

`X-Dongne-Signature: t=<unix seconds>,v1=<hex>`: HMAC-SHA256 with ALERT_WEBHOOK_SECRET of the time,
a dot and the body as it stands, so that neither can be changed and an old one can be told.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
import orjson
import structlog

from hub.plumbing.life.clock import Clock
from hub.plumbing.settings.product import Jobs
from workers.ending import retry_s

SIGNATURE: Final = "X-Dongne-Signature"
TRIES: Final = 3
TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

log = structlog.get_logger(__name__)


def signature(secret: str, body: bytes, at: int) -> str:
    made = hmac.new(secret.encode(), b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={made}"


class Webhook:
    """`session` reaches public addresses alone (hub.plumbing.http.outbound), and is its owner's."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        secret: str,
        figures: Jobs,
        clock: Clock,
    ) -> None:
        self._session = session
        self._url = url
        self._secret = secret
        self._wait_s: Callable[[int], float] = lambda number: retry_s(figures, number)
        self._clock = clock

    async def tell(self, fact: Mapping[str, str]) -> bool:
        """Post it, three times at most; whether it was taken (2xx). A redirect is not followed, and
        neither the address nor what it answered is logged."""
        body = orjson.dumps(fact)
        for number in range(1, TRIES + 1):
            why = await self._post(body)
            if why is None:
                return True
            if number < TRIES:
                await asyncio.sleep(self._wait_s(number))
        log.error("alert.not_delivered", reason=why, tries=TRIES)
        return False

    async def _post(self, body: bytes) -> str | None:
        """None when it was taken, else why not."""
        at = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: signature(self._secret, body, at),
        }
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                return None if response.status // 100 == 2 else f"http_{response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return type(error).__name__
