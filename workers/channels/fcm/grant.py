"""A Google access token for a service account: a signed assertion for a bearer token (RFC 7523)."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from workers.channels.http import answer_json

FCM_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME_S: Final = 3600
_EARLY_S: Final = 60.0
_PAUSE_S: Final = 60.0
"""A bearer that never worked is not replaced sooner: the account is refused, not the bearer."""
_REFUSED_S: Final = 5.0
"""So long a refused grant is not asked for again."""


class CredentialsError(ValueError):
    """FCM_CREDENTIALS_FILE holds no service account that can be used. Never shows what it holds."""


class GrantRefused(Exception):
    """The token endpoint answered, and gave no token: a revoked key, or a clock that is wrong."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    project_id: str
    client_email: str
    token_uri: str
    private_key: str = field(repr=False)
    private_key_id: str = ""

    @classmethod
    def from_file(cls, path: Path) -> "ServiceAccount":
        """Reads the JSON file Google gives out. Raises CredentialsError."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CredentialsError(f"FCM credentials cannot be read: {error.strerror}") from None
        except ValueError:
            raise CredentialsError("FCM credentials are not JSON") from None
        return cls.from_json(raw)

    @classmethod
    def from_json(cls, raw: Any) -> "ServiceAccount":
        fields = raw if isinstance(raw, dict) else {}
        names = ("project_id", "client_email", "token_uri", "private_key", "private_key_id")
        texts = {name: fields[name] for name in names if isinstance(fields.get(name), str)}
        missing = [name for name in names[:4] if not texts.get(name)]
        if missing:
            raise CredentialsError(f"FCM credentials lack {', '.join(missing)}")
        account = cls(**texts)
        try:
            account.assertion(0)
        except (ValueError, TypeError):
            raise CredentialsError("FCM credentials hold no RSA private key") from None
        return account

    def assertion(self, now: int) -> str:
        """The signed claim, good for an hour from `now` (epoch seconds)."""
        claims = {
            "iss": self.client_email,
            "scope": FCM_SCOPE,
            "aud": self.token_uri,
            "iat": now,
            "exp": now + _LIFETIME_S,
        }
        headers = {"kid": self.private_key_id} if self.private_key_id else None
        return jwt.encode(claims, _rsa(self.private_key), algorithm="RS256", headers=headers)


@lru_cache(maxsize=1)
def _rsa(pem: str) -> RSAPrivateKey:
    """Kept, because reading a key proves it, which takes as long as a hundred signatures. Raises
    ValueError or TypeError for what is none."""
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("a key of another kind")
    return key


class AccessTokens:
    """The bearer token in force: fetched once for all who wait, kept until a minute before its end.

    Whoever gives up waiting does not take the fetch away from the others. A bearer that died costs
    one fetch, and a refusal that lasts costs one in a while, whatever the number of pushes.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        account: ServiceAccount,
        timeout_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._monotonic = monotonic
        self._account = account
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._token = ""
        self._good_until = 0.0
        self._fetched_at = 0.0
        self._worked = False
        self._refused: tuple[float, str] | None = None
        self._fetch: asyncio.Task[str] | None = None

    async def get(self) -> str:
        """Raises GrantRefused, aiohttp.ClientError or TimeoutError."""
        if self._token and self._monotonic() < self._good_until:
            return self._token
        if self._refused is not None and self._monotonic() < self._refused[0]:
            raise GrantRefused(self._refused[1])
        if self._fetch is None or self._fetch.done():
            self._fetch = asyncio.create_task(self._fetch_token())
            self._fetch.add_done_callback(_mark_retrieved)
        return await asyncio.shield(self._fetch)

    def works(self, token: str) -> None:
        """The provider took it."""
        self._worked = self._worked or token == self._token

    def drop(self, token: str) -> bool:
        """The provider refused it. True when another one can be had for it, now or already: a
        newer one stays, and one that never worked is kept for a minute."""
        if token != self._token:
            return True
        if not self._worked and self._monotonic() < self._fetched_at + _PAUSE_S:
            return False
        self._token = ""
        return True

    async def close(self) -> None:
        if self._fetch is not None and not self._fetch.done():
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    async def _fetch_token(self) -> str:
        form = {"grant_type": GRANT_TYPE, "assertion": self._account.assertion(int(time.time()))}
        asked_at = self._monotonic()
        async with self._session.post(
            self._account.token_uri, data=form, timeout=self._timeout, allow_redirects=False
        ) as response:
            grant = await answer_json(response)
            if response.status >= 500 or response.status == 429:
                raise aiohttp.ClientError(f"token endpoint answered {response.status}")
            try:
                token, lifetime = _read_grant(response.status, grant)
            except GrantRefused as refused:
                self._refused = self._monotonic() + _REFUSED_S, str(refused)
                raise
        self._token, self._worked, self._refused = token, False, None
        self._fetched_at = asked_at
        self._good_until = asked_at + lifetime - min(_EARLY_S, lifetime / 2)
        return token


def _read_grant(status: int, grant: Any) -> tuple[str, float]:
    """Token and seconds it is good for."""
    fields = grant if isinstance(grant, dict) else {}
    token, lifetime = fields.get("access_token"), fields.get("expires_in")
    readable = isinstance(token, str) and token.isascii() and token.isprintable()
    if status != 200 or not token or not readable:
        raise GrantRefused(f"token endpoint answered {status} without a token")
    if not isinstance(lifetime, int) or lifetime <= 0:
        lifetime = _LIFETIME_S
    return str(token), float(lifetime)


def _mark_retrieved(task: "asyncio.Task[str]") -> None:
    """All who waited may have gone: the loop need not complain about an error nobody fetched."""
    if not task.cancelled():
        task.exception()
