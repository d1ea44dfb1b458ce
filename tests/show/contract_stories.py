"""What two of each process show: sessions, limits, and events with one effect each."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from tests.show import Verdict
from tests.show.stores import fresh_stores, heart_on
from tests.stories import effects, limits, live, tokens
from tests.stories.fleet import KINDS, Fleet, open_fleet

LIFE_S: Final = 8
TIMES: Final = {
    "JWT_EXPIRATION": str(LIFE_S),
    "AUTH_EXPIRING_LEAD": "3",
    "AUTH_EXPIRED_GRACE": "2",
}


@asynccontextmanager
async def _fleet(
    settings: Mapping[str, str], kinds: tuple[str, ...] = KINDS
) -> AsyncIterator[Fleet]:
    async with (
        fresh_stores() as stores,
        heart_on(stores) as domain,
        open_fleet(domain, *stores, settings, kinds) as fleet,
    ):
        yield fleet


async def sessions() -> Verdict:
    async with _fleet(TIMES, ("hub", "api")) as fleet:
        lived = await tokens.outlive(fleet, lives=3, life_s=LIFE_S)
        cut = await tokens.revoked(fleet, people=10)
        stolen = await tokens.stolen(fleet)
    figures = (
        f"revoked to disconnected on both nodes, 10 people: max {max(cut) * 1000:.0f} ms; two"
        f" sockets over three lives of {LIFE_S} s: {lived}; a stolen refresh token: its login, both"
        f" sockets and every token of it ended after {stolen * 1000:.0f} ms"
    )
    passed = lived.whole and lived.renewals >= 3
    return Verdict(passed and max(*cut, stolen) < tokens.CUT_S, figures)


async def exact_limits() -> Verdict:
    async with _fleet({}, ("hub", "api")) as fleet:
        events = await limits.events(fleet, window_s=10, most=100, chat_most=20)
        table = await limits.routes(fleet)
        service = await limits.services(fleet)
    wrong = [str(one) for one in (*events, *table, *service) if not one.exact]
    slowest = max(one.seconds for one in events)
    figures = (
        f"one person, 3 sockets, 2 nodes: {', '.join(map(str, events))} (each burst under"
        f" {slowest:.1f} s); REST over two apis: {len(table)} rows of the table,"
        f" {sum(one.allowed for one in table)} taken of {sum(one.sent for one in table)};"
        f" {service[0]}; not exact: {'; '.join(wrong) or 'none'}"
    )
    return Verdict(not wrong and slowest < 10, figures)


async def one_effect() -> Verdict:
    patience = {"RETRY_DELAY": "500", "RETRY_MAX_DELAY": "5000"}
    async with _fleet(patience, ("api", "worker")) as fleet:
        seen = await effects.tell(fleet, stories=40, kills=20, seed=20261127)
    return Verdict(not seen.wrong and min(seen.killed.values()) > 3, str(seen))


async def said_once() -> Verdict:
    async with _fleet(live.SETTINGS, ("hub", "worker")) as fleet:
        result = await live.play(fleet, live.Plan())
    return Verdict(result.right, str(result))
