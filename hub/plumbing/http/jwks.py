"""The public keys behind JWT_JWKS_URL: fetched when needed, kept, fetched anew for an unknown name.

Whoever sends tokens with made-up key names costs one request in PAUSE_S, however many they are.
The address is the operator's and is asked as it stands: a redirect is not followed, for it could
lead to an address of the inside, and what a token says of addresses is never looked at.
"""

import asyncio
from typing import Final

import aiohttp
import orjson
import structlog

from hub.plumbing.life.lasting import Lasting
from hub.plumbing.telemetry.metrics import JWKS_FETCHES
from protocol.errors import unavailable
from protocol.jwks import PublicKey, read_jwks

PAUSE_S: Final = 5.0
"""At most one request in so many seconds."""

FRESH_S: Final = 300.0
"""After so long the set is fetched anew beside the work: a key taken out of it ends then."""

KEPT_S: Final = 86_400.0
"""How long the last set is believed while no newer one can be had."""

ANSWER_S: Final = 5.0
MOST_BYTES: Final = 256 * 1024

log = structlog.get_logger(__name__)


class NoKeys(Exception):
    """The address answered, but with no set of keys; the message says how, and nothing of it."""


class PublicKeys:
    """One a process. `pause_s` and `fresh_s` are PAUSE_S and FRESH_S outside of tests."""

    def __init__(self, url: str, *, pause_s: float = PAUSE_S, fresh_s: float = FRESH_S) -> None:
        self._url = url
        self._pause_s = pause_s
        self._fresh_s = fresh_s
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._away = Lasting(log, "public keys cannot be fetched", "public keys are fetched again")

    def known(self) -> tuple[PublicKey, ...]:
        """Those at hand; once they are not fresh any more newer ones are on their way."""
        age = asyncio.get_running_loop().time() - self._fetched_at
        if age > self._fresh_s and self._keys:
            self._start()
        return self._keys if age <= KEPT_S else ()

    async def renewed(self) -> tuple[PublicKey, ...]:
        """The set as it is now, unless it was asked for less than PAUSE_S ago.

        Raises UNAVAILABLE while there is none at all.
        """
        self._start()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
        keys = self.known()
        if not keys:
            raise unavailable("The keys of tokens cannot be fetched now.")
        return keys

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _start(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._fetching is not None or now - self._tried_at < self._pause_s:
            return
        self._tried_at = now
        self._fetching = asyncio.create_task(self._fetch(), name="public keys")

    async def _fetch(self) -> None:
        try:
            self._keys = read_jwks(orjson.loads(await self._answer()))
        except (aiohttp.ClientError, OSError, TimeoutError, NoKeys, ValueError) as error:
            JWKS_FETCHES.labels(outcome="failed").inc()
            self._away.seen(kind=type(error).__name__)
        else:
            self._fetched_at = asyncio.get_running_loop().time()
            JWKS_FETCHES.labels(outcome="ok").inc()
            self._away.over()
        finally:
            self._fetching = None

    async def _answer(self) -> bytes:
        """Raises aiohttp.ClientError, OSError, TimeoutError and NoKeys."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        # uncompressed: of a compressed body nobody knows how much it is before it is there
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http,
            http.get(self._url, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise NoKeys(f"status {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise NoKeys(f"more than {MOST_BYTES} bytes")
            return bytes(body)
