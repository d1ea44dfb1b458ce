"""Sends a push through APNs: one HTTP/2 request a device, tried once.

The queue repeats what is temporary. Only what was no try of the push goes twice: a request that
the server did not take up, and one whose provider token had just had its time.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.telemetry.trace import outgoing_headers
from workers.channels.apns.answers import EXPIRED_TOKEN, classify, reason_of
from workers.channels.apns.bearer import ApnsSettingsError, ProviderTokens
from workers.channels.apns.http2 import Answer
from workers.channels.apns.link import Link
from workers.channels.apns.message import apns_payload
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
from workers.channels.push import apns_headers
from workers.channels.table import Opening

URLS: Final = {
    "production": "https://api.push.apple.com",
    "sandbox": "https://api.sandbox.push.apple.com",
}
"""By a device's environment: a token of one is unknown to the other."""
_TOKEN: Final = re.compile(r"[0-9A-Fa-f]{2,512}")


def open_sender(given: Opening) -> Sender:
    """Raises ApnsSettingsError."""
    part = given.settings
    assert part.apns_key_file is not None
    assert part.apns_key_id is not None
    assert part.apns_team_id is not None
    assert part.apns_topic is not None
    tokens = ProviderTokens(part.apns_key_file, part.apns_key_id, part.apns_team_id)
    urls = URLS if part.apns_url is None else dict.fromkeys(URLS, part.apns_url)
    return ApnsSender(tokens, part.apns_topic, urls, given.timeout_s, given.clock)


class ApnsSender:
    """One app's door to APNs. `urls` by environment; `tls` None: the machine's authorities.

    Raises ApnsSettingsError for a URL that is none.
    """

    def __init__(
        self,
        tokens: ProviderTokens,
        topic: str,
        urls: Mapping[str, str] = URLS,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tokens = tokens
        self._topic = topic
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        try:
            self._links = {name: Link(url, timeout_s, tls) for name, url in urls.items()}
        except ValueError as error:
            raise ApnsSettingsError(str(error)) from None

    async def send(self, to: Recipient, message: Message) -> Outcome:
        """A token that is no hexadecimal is another provider's: it is not brought before Apple."""
        left = seconds_left(message.deadline_at, self._clock.now())
        if left is not None and left < 1:
            return Expired()
        if not _TOKEN.fullmatch(to.address):
            return Permanent(BAD_ADDRESS)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(self._links[to.environment or "production"], to, message)
        except TimeoutError:
            return Temporary(TIMEOUT)
        except OSError:
            return Temporary(UNREACHABLE)

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()

    async def _send(self, link: Link, to: Recipient, message: Message) -> Outcome:
        bearer = self._tokens.at(self._clock.now())
        answer = await self._post(link, to, message, bearer)
        if answer.status == 403 and reason_of(answer.body) == EXPIRED_TOKEN:
            newer = self._tokens.at(self._clock.now())
            if newer != bearer:
                answer = await self._post(link, to, message, newer)
        return _outcome(answer, to, self._clock.now())

    async def _post(self, link: Link, to: Recipient, message: Message, bearer: str) -> Answer:
        headers = {
            ":method": "POST",
            ":scheme": link.scheme,
            ":authority": link.authority,
            ":path": f"/3/device/{to.address}",
            "authorization": f"bearer {bearer}",
            **outgoing_headers(),
            "apns-id": message.delivery_id,
            "apns-topic": self._topic,
            **apns_headers(message, self._clock.now()),
        }
        return await link.request(list(headers.items()), apns_payload(message))


def _outcome(answer: Answer, to: Recipient, now: datetime) -> Outcome:
    if answer.status == 200:
        return Sent(answer.headers.get("apns-id", ""))
    return classify(answer.status, answer.headers, answer.body, to.registered_at, now)
