"""Sends a push to a browser through its push service: one POST, tried once.

Where it goes was written by a browser, or by whoever says to be one. So it goes to the push
services of WEBPUSH_HOSTS alone, to public addresses alone, and no redirect is followed.
"""

import asyncio
import ssl
from typing import Final

import aiohttp

from hub.plumbing.http.outbound import NotPublic, Outbound, PushServices
from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.telemetry.trace import outgoing_headers
from protocol.web_push import Subscription, read_subscription, read_vapid_key
from workers.channels.message import Message, Recipient, Sender
from workers.channels.outcome import (
    BAD_ADDRESS,
    TIMEOUT,
    UNREACHABLE,
    Expired,
    Outcome,
    Permanent,
    Sent,
    Temporary,
    seconds_left,
)
from workers.channels.table import Opening
from workers.channels.webpush.answers import TAKEN, classify
from workers.channels.webpush.encryption import encrypt
from workers.channels.webpush.message import webpush_headers, webpush_payload
from workers.channels.webpush.vapid import Vapid

_ELSEWHERE: Final = Permanent(BAD_ADDRESS)


def open_sender(given: Opening) -> Sender:
    part = given.settings
    assert part.vapid_private_key is not None
    assert part.vapid_subject is not None
    return WebPushSender(
        Vapid(read_vapid_key(part.vapid_private_key.get_secret_value()), part.vapid_subject),
        PushServices(part.webpush_hosts, Outbound(part.outbound_allow)),
        timeout_s=given.timeout_s,
        clock=given.clock,
    )


class WebPushSender:
    """Its connections are its own: they are checked where they are made. `tls` None: the machine's
    authorities."""

    def __init__(
        self,
        vapid: Vapid,
        services: PushServices,
        *,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._vapid = vapid
        self._services = services
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._session = aiohttp.ClientSession(
            connector=services.outbound.connector(tls), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def send(self, to: Recipient, message: Message) -> Outcome:
        """No silent message belongs here: a browser shows each push, or takes the right away."""
        left = seconds_left(message.deadline_at, self._clock.now())
        if left is not None and left < 1:
            return Expired()
        try:
            subscription = read_subscription(to.address)
        except ValueError:
            return _ELSEWHERE
        if not self._services.take(subscription):
            return _ELSEWHERE
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(subscription, message)
        except TimeoutError:
            return Temporary(TIMEOUT)
        except aiohttp.ClientConnectorError as error:
            return _ELSEWHERE if isinstance(error.os_error, NotPublic) else Temporary(UNREACHABLE)
        except (aiohttp.ClientError, OSError):
            return Temporary(UNREACHABLE)

    async def close(self) -> None:
        await self._session.close()

    async def _post(self, to: Subscription, message: Message) -> Outcome:
        now = self._clock.now()
        async with self._session.post(
            to.endpoint,
            data=encrypt(webpush_payload(message), to),
            headers={
                **outgoing_headers(),
                **webpush_headers(message, now),
                "Authorization": self._vapid.authorization(to.origin, now),
            },
            allow_redirects=False,
        ) as response:
            if response.status in TAKEN:
                return Sent("")  # its Location is a capability to the message, and stays there
            return classify(response.status, response.headers, now)
