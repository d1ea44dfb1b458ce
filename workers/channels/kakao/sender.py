"""Sends a message to one person's KakaoTalk: one POST, tried once."""

import asyncio

import aiohttp

from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.telemetry.trace import outgoing_headers
from workers.channels.http import answer_json
from workers.channels.kakao.answers import classify
from workers.channels.kakao.message import kakao_form
from workers.channels.message import Message, Recipient, Sender
from workers.channels.outcome import (
    TIMEOUT,
    UNREACHABLE,
    Expired,
    Outcome,
    Temporary,
    seconds_left,
)
from workers.channels.table import Opening


def open_sender(given: Opening) -> Sender:
    part = given.settings
    assert part.kakao_message_url is not None
    assert part.kakao_message_token is not None
    return KakaoSender(
        given.session,
        part.kakao_message_url,
        part.kakao_message_token.get_secret_value(),
        timeout_s=given.timeout_s,
        clock=given.clock,
    )


class KakaoSender:
    """The session is the caller's: shared, and closed by its owner. `url` is the operator's own
    word, and trusted; no redirect is followed, for the token would go with it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: str,
        *,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._authorization = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()

    async def send(self, to: Recipient, message: Message) -> Outcome:
        """What stands at the person's chat cannot be taken back, so nothing silent is for it."""
        left = seconds_left(message.deadline_at, self._clock.now())
        if left is not None and left < 1:
            return Expired()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(to.address, message)
        except TimeoutError:
            return Temporary(TIMEOUT)
        except (aiohttp.ClientError, OSError):
            return Temporary(UNREACHABLE)

    async def close(self) -> None:
        """The session has an owner, and nothing else is held."""

    async def _post(self, user_key: str, message: Message) -> Outcome:
        async with self._session.post(
            self._url,
            data=kakao_form(user_key, message),
            headers={**outgoing_headers(), "Authorization": self._authorization},
            allow_redirects=False,
        ) as response:
            answer = await answer_json(response)
            now = self._clock.now()
            return classify(response.status, response.headers, answer, user_key, now)
