"""The five providers as one story sees them: what each message was, and what goes wrong with it."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Set
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from protocol.web_push import public_text, read_vapid_key, to_base64url
from tests.fakes.apns import KEY_ID, TEAM_ID, TOPIC, FakeApns
from tests.fakes.fcm import FakeFcm
from tests.fakes.kakao import FakeKakao
from tests.fakes.script import Fault, Script
from tests.fakes.smtp import FakeSmtp
from tests.fakes.webpush import FakePushService

VAPID_KEY: Final = to_base64url(bytes(range(1, 33)))
PUBLIC_KEY: Final = public_text(read_vapid_key(VAPID_KEY))


class Seen(NamedTuple):
    """Of one message: whom it was for, about which question; `silent` clears a screen."""

    address: str
    question_id: str
    silent: bool = False


def _of_fcm(message: dict[str, Any]) -> Seen:
    body = message["message"]
    return Seen(message["token"], body["data"]["questionId"], "notification" not in body)


def _of_apns(message: dict[str, Any]) -> Seen:
    body = message["payload"]
    return Seen(message["token"], body["questionId"], "alert" not in body["aps"])


def _of_webpush(message: dict[str, Any]) -> Seen:
    return Seen(message["id"], message["payload"]["data"]["questionId"])


def _of_kakao(message: dict[str, Any]) -> Seen:
    return Seen(message["receiver"], _linked(message["template"]["link"]["web_url"]))


def _of_mail(message: dict[str, Any]) -> Seen:
    return Seen(message["rcpt_to"][0], _linked(message["text"]))


def _linked(text: str) -> str:
    return text.partition("/questions/")[2].split()[0]


@dataclass(frozen=True, slots=True)
class Provider:
    """`step`: where its faults happen; `chances`: of a hundred messages, how many meet each."""

    name: str
    channel: str
    fake: Script
    read: Callable[[dict[str, Any]], Seen]
    chances: Sequence[tuple[int, Fault]]

    def tried(self) -> Iterator[tuple[float, Seen]]:
        """All that was brought, and when."""
        return ((call.at, self.read(call.message)) for call in self.fake.calls)

    def taken(self) -> Iterator[Seen]:
        """What it took over, whether or not it said so."""
        return (self.read(message) for message in self.fake.received)


class Weather:
    """What goes wrong with a message is a matter of the seed: the same one, brought for the same
    time, always meets the same. In the seconds of `outage` all of them meet its fault."""

    def __init__(
        self, seed: int, provider: Provider, dead: Set[str], says_so: Fault | None = None
    ) -> None:
        """`dead` are addresses; `says_so`: how, where the provider has no word of its own for it.
        `called_dead`: who was, and when."""
        self._seed = seed
        self._provider = provider
        self._dead = dead
        self._says_so = says_so
        self.called_dead: list[tuple[str, float]] = []
        self._times: Counter[Seen] = Counter()
        self._outage: tuple[float, Fault] | None = None
        self.faults = 0

    def outage(self, seconds: float, fault: Fault) -> None:
        self._outage = time.time() + seconds, fault

    def __call__(self, step: str, message: dict[str, Any]) -> Fault | None:
        seen = self._provider.read(message)
        self._times[seen] += 1
        fault = self._of(seen)
        self.faults += fault is not None
        return fault

    def _of(self, seen: Seen) -> Fault | None:
        if self._outage is not None and time.time() < self._outage[0]:
            return self._outage[1]
        fault = self._by_chance(seen)
        if fault is None and seen.address in self._dead and not seen.silent:
            self.called_dead.append((seen.address, time.time()))
            return self._says_so
        return fault

    def _by_chance(self, seen: Seen) -> Fault | None:
        key = f"{self._seed}:{seen}:{self._times[seen]}"
        left = Random(key).random() * 100
        for share, fault in self._provider.chances:
            left -= share
            if left < 0:
                return fault
        return None


GOOGLE: Final = (
    (6, Fault("send", status=500, body={"error": {"status": "INTERNAL"}})),
    (3, Fault("send", status=429, body={"error": {"status": "RESOURCE_EXHAUSTED"}})),
    (2, Fault("send", "hang")),
    (2, Fault("send", "close", taken=True)),
)
APPLE: Final = (
    (6, Fault("push", status=500, body={"reason": "InternalServerError"})),
    (3, Fault("push", status=429, body={"reason": "TooManyRequests"})),
    (2, Fault("push", "hang")),
    (2, Fault("push", "goaway")),
)
BROWSERS: Final = (
    (6, Fault("push", status=500)),
    (3, Fault("push", status=429, headers={"Retry-After": "2"})),
    (2, Fault("push", "hang", taken=True)),
    (2, Fault("push", "half")),
)
TALK: Final = (
    (6, Fault("send", status=500, body={"code": -1})),
    (3, Fault("send", status=429, body={"code": -10})),
    (2, Fault("send", "hang")),
)
MAIL: Final = (
    (6, Fault("data", reply="451 4.3.0 try later")),
    (3, Fault("data", reply="421 4.7.0 too many")),
    (2, Fault("data", "hang")),
    (2, Fault("data", "close", taken=True)),
)


@dataclass(frozen=True, slots=True)
class Street:
    """All of them, serving. `environ` is what a worker is told of those that open_stack does not
    open itself."""

    apns: FakeApns
    browsers: FakePushService
    kakao: FakeKakao

    @property
    def environ(self) -> dict[str, str]:
        return {
            "APNS_KEY_FILE": str(self.apns.key_file),
            "APNS_KEY_ID": KEY_ID,
            "APNS_TEAM_ID": TEAM_ID,
            "APNS_TOPIC": TOPIC,
            "APNS_URL": self.apns.url,
            "VAPID_PRIVATE_KEY": VAPID_KEY,
            "VAPID_SUBJECT": "mailto:people@dongne.example",
            "WEBPUSH_HOSTS": "127.0.0.1",
            "KAKAO_MESSAGE_URL": self.kakao.message_url,
            "KAKAO_MESSAGE_TOKEN": self.kakao.token,
        }

    def subscribe(self) -> tuple[str, str]:
        return self.browsers.subscribe(PUBLIC_KEY)

    def providers(self, fcm: FakeFcm, smtp: FakeSmtp) -> tuple[Provider, ...]:
        return (
            Provider("fcm", "push", fcm, _of_fcm, GOOGLE),
            Provider("apns", "push", self.apns, _of_apns, APPLE),
            Provider("webpush", "push", self.browsers, _of_webpush, BROWSERS),
            Provider("kakao", "kakao", self.kakao, _of_kakao, TALK),
            Provider("smtp", "email", smtp, _of_mail, MAIL),
        )


@asynccontextmanager
async def open_street(folder: Path) -> AsyncIterator[Street]:
    async with AsyncExitStack() as exits:
        yield Street(
            await exits.enter_async_context(FakeApns(folder)),
            await exits.enter_async_context(FakePushService()),
            await exits.enter_async_context(FakeKakao()),
        )
