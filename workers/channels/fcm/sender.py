"""Sends a push through Firebase Cloud Messaging, HTTP v1: one POST a device, tried once.

The queue repeats what is temporary, so nothing is repeated here, but for a push whose access token
had died: that is no try of the push, and the new token is the same for all that were under way.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson

from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.telemetry.trace import outgoing_headers
from workers.channels.fcm.answers import classify, refuses_bearer
from workers.channels.fcm.grant import AccessTokens, GrantRefused, ServiceAccount
from workers.channels.fcm.message import fcm_body
from workers.channels.http import answer_json
from workers.channels.message import Message, Recipient, Sender
from workers.channels.outcome import (
    CREDENTIALS_REFUSED,
    TIMEOUT,
    UNREACHABLE,
    Act,
    Expired,
    Outcome,
    Sent,
    Temporary,
    seconds_left,
)
from workers.channels.table import Opening

DEFAULT_URL: Final = "https://fcm.googleapis.com"


def open_sender(given: Opening) -> Sender:
    """Raises CredentialsError when FCM_CREDENTIALS_FILE cannot be used."""
    part = given.settings
    assert part.fcm_credentials_file is not None
    return FcmSender(
        given.session,
        part.fcm_credentials_file,
        url=part.fcm_url or DEFAULT_URL,
        timeout_s=given.timeout_s,
        clock=given.clock,
    )


class FcmSender:
    """One project's door. The session is the caller's: shared, and closed by its owner."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials_file: Path,
        *,
        url: str = DEFAULT_URL,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        account = ServiceAccount.from_file(credentials_file)
        project = quote(account.project_id, safe="")
        self._url = f"{url.rstrip('/')}/v1/projects/{project}/messages:send"
        self._tokens = AccessTokens(session, account, timeout_s, monotonic=monotonic)

    async def close(self) -> None:
        await self._tokens.close()

    async def send(self, to: Recipient, message: Message) -> Outcome:
        """Hands one push over for one device, with the request id and the B3 ids as headers."""
        if self._too_late(message):
            return Expired()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(to.address, message)
        except GrantRefused:
            return Act.ALARM.outcome(CREDENTIALS_REFUSED)
        except TimeoutError:
            return Temporary(TIMEOUT)
        except (aiohttp.ClientError, OSError):
            return Temporary(UNREACHABLE)

    async def _send(self, token: str, push: Message) -> Outcome:
        tokens = self._tokens
        for last in (False, True):
            bearer = await tokens.get()
            if self._too_late(push):  # the grant may have taken what was left
                return Expired()
            outcome, refused = await self._post(bearer, token, push)
            if not refused:
                tokens.works(bearer)
                return outcome
            if not tokens.drop(bearer) or last:
                break
        return outcome

    async def _post(self, bearer: str, token: str, push: Message) -> tuple[Outcome, bool]:
        """What came of it, and whether it was the bearer that was refused."""
        now = self._clock.now()
        async with self._session.post(
            self._url,
            data=orjson.dumps(fcm_body(token, push, now)),
            headers={
                **outgoing_headers(),
                "Authorization": f"Bearer {bearer}",
                "Content-Type": "application/json",
            },
            allow_redirects=False,
        ) as response:
            answer = await answer_json(response)
            refused = refuses_bearer(response.status, answer)
            return _outcome(response, answer, now), refused

    def _too_late(self, push: Message) -> bool:
        left = seconds_left(push.deadline_at, self._clock.now())
        return left is not None and left < 1


def _outcome(response: aiohttp.ClientResponse, answer: Any, now: datetime) -> Outcome:
    name = answer.get("name") if isinstance(answer, dict) else None
    if response.status == 200:
        # taken over without a name we can read is still taken over: a repeat would ring twice
        return Sent(name if isinstance(name, str) else "")
    return classify(response.status, response.headers, answer, now)
