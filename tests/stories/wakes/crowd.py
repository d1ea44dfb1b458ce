"""A thousand people with three devices each, and how they look at their screens."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final
from uuid import UUID, uuid5

from hub.domain.context import Domain
from hub.domain.places import geometry
from tests.stories.latency import PLACE, token_of
from tests.stories.light import LightSocket

DEVICES: Final = UUID("6f2f0d57-5b5c-4b8e-9d59-6a6f4a0b7c11")
M_A_DEGREE: Final = 111_195
PLATFORMS: Final = (("android", "ios"), ("ios", "web"), ("web", "android"))


class Habit(StrEnum):
    """How somebody treats the one socket they have."""

    LOOKS = "looks"
    """Acknowledges soon after it is shown."""
    POCKET = "pocket"
    """Connected all the time, and nobody looks."""
    WANDERS = "wanders"
    """The connection drops every few seconds; what is shown between is acknowledged."""
    AWAY = "away"


HABITS: Final = {Habit.LOOKS: 40, Habit.POCKET: 15, Habit.WANDERS: 20, Habit.AWAY: 25}
"""Of a hundred people."""


@dataclass(frozen=True, slots=True)
class Device:
    """`address`: what the provider knows it by; `token`: what was registered. `dead`: the provider
    says that it is gone."""

    platform: str
    address: str
    token: str
    dead: bool

    @property
    def id(self) -> UUID:
        return uuid5(DEVICES, self.token)


@dataclass(slots=True)
class Somebody:
    """`ring`: the first wave that reaches them. `shown`: by question, when their screen had it
    first; `acknowledged`: when the hub said that it keeps their acknowledgement (seconds since
    1970). `kakao`: a messenger's key."""

    name: str
    ring: int
    habit: Habit
    devices: tuple[Device, ...]
    kakao: str | None
    dead_mailbox: bool
    random: Random
    shown: dict[str, float] = field(default_factory=dict)
    acknowledged: dict[str, float] = field(default_factory=dict)
    here_since: float | None = None
    connects: int = 0

    @property
    def email(self) -> str:
        return f"{self.name}@example.org"

    @property
    def addresses(self) -> tuple[str, ...]:
        """What providers know them by."""
        messenger = () if self.kakao is None else (self.kakao,)
        return (*(device.address for device in self.devices), *messenger, self.email)


def make_crowd(
    size: int, seed: int, rings: tuple[float, ...], subscribe: Callable[[], tuple[str, str]]
) -> list[Somebody]:
    """`rings`: the share of the people that each wave is the first to reach. `subscribe`: the id of
    a new browser, and its subscription."""
    crowd = []
    for n in range(size):
        random = Random(f"{seed}:{n}")
        gone = random.random() < 0.06
        devices = []
        for platform in PLATFORMS[n % 3]:
            address = f"{n:064x}" if platform == "ios" else f"android-{n}"
            token = address
            if platform == "web":
                address, token = subscribe()
            devices.append(Device(platform, address, token, gone or random.random() < 0.04))
        habit = random.choices(list(HABITS), list(HABITS.values()))[0]
        ring = random.choices(range(len(rings)), rings)[0]
        kakao = f"kakao-{n}" if random.random() < 0.2 else None
        lost = random.random() < 0.03
        crowd.append(Somebody(f"p{n}", ring, habit, tuple(devices), kakao, lost, random))
    return crowd


async def settle(d: Domain, crowd: list[Somebody], rings: tuple[tuple[int, int], ...]) -> None:
    """Write them: each somewhere between the metres of their ring, willing to be woken there."""
    cells = []
    for one in crowd:
        metres = one.random.uniform(*rings[one.ring])
        cells.append(geometry.cell_of(PLACE[0] - metres / M_A_DEGREE, PLACE[1]))
    names = [one.name for one in crowd]
    async with d.pool.acquire() as conn, conn.transaction():
        await conn.execute(
            "INSERT INTO users (id, nickname, email, is_local_verified, region_code,"
            " location_consent_at, kakao_user_key)"
            " SELECT n, n, e, true, 'jeju', now(), k"
            " FROM unnest($1::text[], $2::text[], $3::text[]) AS t (n, e, k)",
            names,
            [one.email for one in crowd],
            [one.kakao for one in crowd],
        )
        await conn.execute(
            "INSERT INTO notification_preferences (user_id, radius_m, kakao_enabled)"
            " SELECT n, 20000, k FROM unnest($1::text[], $2::bool[]) AS t (n, k)",
            names,
            [one.kakao is not None for one in crowd],
        )
        await conn.execute(
            "INSERT INTO user_locations (user_id, cell, region_code, expires_at)"
            " SELECT n, c, 'jeju', now() + interval '1 day'"
            " FROM unnest($1::text[], $2::bigint[]) AS t (n, c)",
            names,
            cells,
        )
        owned = [(one.name, device) for one in crowd for device in one.devices]
        await conn.execute(
            "INSERT INTO devices (id, user_id, platform, token) SELECT *"
            " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])",
            [device.id for _, device in owned],
            [name for name, _ in owned],
            [device.platform for _, device in owned],
            [device.token for _, device in owned],
        )


class Screen(LightSocket):
    """One connection: it says what it is told, acknowledges, and says when it was lost."""

    def __init__(self, url: str, token: str, told: Callable[[bytes], None]) -> None:
        super().__init__(url, token, b"")
        self.lost = asyncio.Event()
        self._told = told
        self._bytes = b""
        self._upgraded = False

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        if not self._upgraded:
            head, found, rest = self._bytes.partition(b"\r\n\r\n")
            if not found:
                return
            self._upgraded, self._bytes = True, rest
            if b" 101 " not in head:
                self.close()
        while (text := self._next_frame()) is not None:
            if text.startswith(b"0{"):
                self._begin(text)
            elif text == b"2":
                self._send(b"3")
            elif text.startswith(b'42["ready"'):
                self.ready.set_result(None)
            else:
                self._told(text)

    def _next_frame(self) -> bytes | None:
        """The payload of the first whole one; a server's carry no mask (RFC 6455 §5.1)."""
        data = self._bytes
        if len(data) < 2:
            return None
        length, begin = data[1], 2
        if length >= 126:
            begin = 4 if length == 126 else 10
            length = int.from_bytes(data[2:begin])
        if len(data) < begin + length:
            return None
        self._bytes = data[begin + length :]
        return data[begin : begin + length]

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("lost before it was ready"))

    def acknowledge(self, number: int, question_id: str) -> None:
        body = json.dumps(["notification:ack", {"questionIds": [question_id]}])
        if self.ready.done() and not self.lost.is_set():
            self._send(f"42{number}{body}".encode())


class Phone:
    """What somebody's hand does with their one socket, until it is told to stop."""

    def __init__(self, d: Domain, url: str, person: Somebody) -> None:
        self._url = url
        self._token = token_of(d, person.name)
        self._person = person
        self._screen: Screen | None = None
        self._asked: list[str] = []
        self.refused = 0

    async def live(self) -> None:
        """Comes back whenever it was lost. Somebody away has no phone in the hand."""
        one = self._person
        while True:
            self._screen = screen = Screen(self._url, self._token, self._told)
            try:
                await screen.connect()
                one.connects += 1
                one.here_since = time.time()
                await self._hold(screen)
            except (ConnectionError, TimeoutError):
                self.refused += 1
            finally:
                one.here_since = None
                screen.close()
            await asyncio.sleep(one.random.uniform(0.2, 2.0))

    async def _hold(self, screen: Screen) -> None:
        if self._person.habit is not Habit.WANDERS:
            await screen.lost.wait()
            return
        await asyncio.wait([asyncio.ensure_future(screen.lost.wait())], timeout=self._walk())
        screen.close()

    def _walk(self) -> float:
        return self._person.random.uniform(1.0, 6.0)

    def _told(self, text: bytes) -> None:
        one = self._person
        if text.startswith(b'42["question:urgent"'):
            question_id = json.loads(text[2:])[1]["questionId"]
            one.shown.setdefault(question_id, time.time())
            if one.habit is not Habit.POCKET and question_id not in one.acknowledged:
                wait_s = one.random.uniform(0.05, 1.5)
                asyncio.get_running_loop().call_later(wait_s, self._look, question_id)
        elif text.startswith(b"43") and b'"ok":true' in text:
            number = int(text[2 : text.index(b"[")])
            one.acknowledged.setdefault(self._asked[number], time.time())

    def _look(self, question_id: str) -> None:
        if self._screen is not None:
            self._asked.append(question_id)
            self._screen.acknowledge(len(self._asked) - 1, question_id)
