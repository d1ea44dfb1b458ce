"""What a login is worth: a socket that outlives its tokens, and ends at once when it must."""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.client import Person, Refused
from tests.stories.fleet import Fleet

CUT_S: Final = 1.0


@dataclass
class Lived:
    """Of sockets on both nodes whose tokens were renewed: events published, heard by each, in order
    or not; renewals; whether any socket was told that it ended."""

    seconds: float = 0.0
    renewals: int = 0
    published: int = 0
    heard: list[list[int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        expected = list(range(self.published))
        return not self.ended and all(one == expected for one in self.heard)

    def __str__(self) -> str:
        heard = "+".join(str(len(one)) for one in self.heard)
        return (
            f"{self.seconds:.0f} s, {self.renewals} renewals, heard {heard} of {self.published}"
            f" events each, ended={self.ended or 'none'}"
        )


async def outlive(fleet: Fleet, lives: int, life_s: float) -> Lived:
    """Two sockets of one login, one a node, for that many lives of a token; each renewal takes the
    refresh token that the one before gave."""
    service = fleet.services[0]
    pair = await service.call("POST", "/auth/sessions", {"userId": "minji"})
    sockets = [await fleet.come(hub, pair["accessToken"]) for hub in fleet.hubs]
    seen, start = Lived(), time.monotonic()
    publishing = asyncio.create_task(_publish(fleet, seen))
    while time.monotonic() - start < lives * life_s:
        left = lives * life_s - (time.monotonic() - start)
        try:
            await sockets[0].expect("auth:expiring", timeout=left)
            await sockets[1].expect("auth:expiring", timeout=left)
        except TimeoutError:
            break
        bearer = fleet.services[seen.renewals % 2].as_("")
        pair = await bearer.call("POST", "/auth/refresh", {"refreshToken": pair["refreshToken"]})
        for socket in sockets:
            ack = await socket.call("auth:refresh", {"token": pair["accessToken"]})
            assert ack["ok"], ack
        seen.renewals += 1
    seen.seconds = time.monotonic() - start
    publishing.cancel()
    for socket in sockets:
        last = seen.published - 1
        await socket.next("room:broadcast", partial(_is_number, last))
        seen.heard.append([a[0]["data"]["n"] for e, a in socket.heard if e == "room:broadcast"])
        seen.ended += [name for name in socket.names() if name in ("auth:expired", "(disconnect)")]
    return seen


def _is_number(number: int, told: Any) -> bool:
    return bool(told["data"]["n"] == number)


async def _publish(fleet: Fleet, seen: Lived) -> None:
    while True:
        service = fleet.services[seen.published % 2]
        body = {"event": "room:broadcast", "data": {"n": seen.published}}
        seen.published += 1
        await asyncio.shield(service.call("POST", "/rooms/user:minji/broadcasts", body))
        await asyncio.sleep(0.1)


async def revoked(fleet: Fleet, people: int) -> list[float]:
    """Of each of so many people with a socket on both nodes: s from the call to the last end."""
    took = []
    for n in range(people):
        pair = await fleet.services[0].call("POST", "/auth/sessions", {"userId": f"gone{n}"})
        sockets = [await fleet.come(hub, pair["accessToken"]) for hub in fleet.hubs]
        start = time.monotonic()
        await fleet.services[n % 2].call("POST", "/auth/revoke", {"userId": f"gone{n}"})
        took.append(await _ended(sockets) - start)
    return took


async def _ended(sockets: list[Person]) -> float:
    """When the last of them was disconnected."""
    times = []
    for socket in sockets:
        _, at = await socket.expect_at("(disconnect)")
        times.append(at)
    return max(times)


async def stolen(fleet: Fleet) -> float:
    """The thief was first and has a pair; the robbed comes with the same token. Neither has a
    socket or a token after so many s; nor does any token of the login open anything."""
    one, other = fleet.services
    robbed = await one.call("POST", "/auth/sessions", {"userId": "haru"})
    thief = await _refreshed(fleet, robbed)
    phones = [
        await fleet.come(fleet.hubs[0], robbed["accessToken"]),
        await fleet.come(fleet.hubs[1], thief["accessToken"]),
    ]
    start = time.monotonic()
    assert await _refusal(fleet, robbed) == "TOKEN_REVOKED"
    took = await _ended(phones) - start
    assert await _refusal(fleet, thief) == "TOKEN_REVOKED"
    for pair in (robbed, thief):
        try:
            await other.as_(pair["accessToken"]).call("POST", "/answers", {})
            raise AssertionError("a token of a login that ended was taken")
        except Refused as refused:
            assert refused.code == "TOKEN_REVOKED"
    return took


async def _refreshed(fleet: Fleet, pair: dict[str, Any]) -> dict[str, Any]:
    body = {"refreshToken": pair["refreshToken"]}
    answer = await fleet.services[1].as_("").call("POST", "/auth/refresh", body)
    assert isinstance(answer, dict)
    return answer


async def _refusal(fleet: Fleet, pair: dict[str, Any]) -> str | None:
    try:
        await _refreshed(fleet, pair)
    except Refused as refused:
        return str(refused.code)
    return None
