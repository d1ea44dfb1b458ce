"""Homes: whose inbox another region's database holds, and what they are told of things done here.

A person's inbox is in the region of their profile (design §8). What a question here does to them
goes there as a domain event of `protocol.between_regions`, with a job of this transaction: it is
applied there once, by its id, however often it comes. Their sockets here are told as anybody's.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID, uuid4

from hub.domain import shards
from hub.domain.context import Domain
from hub.domain.shards import NOWHERE
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, acquire, to_json
from protocol.between_regions import BETWEEN_REGIONS, PeopleHeard
from protocol.events import Emit
from protocol.payload import Message, plain

_NAMES: Final = {form: name for name, form in BETWEEN_REGIONS.items()}


async def of_people(d: Domain, conn: Connection, users: Iterable[str]) -> dict[str, str]:
    """Person → region, of those who are not at home here."""
    if not d.shards.urls:
        return {}
    codes = dict.fromkeys(users, NOWHERE)
    rows = await conn.fetch(
        "SELECT id, region_code FROM users WHERE id = ANY($1::text[])", list(codes)
    )
    codes |= {row["id"]: row["region_code"] for row in rows}
    found = {user_id: d.shards.of_region(code) for user_id, code in codes.items()}
    return {user_id: region for user_id, region in found.items() if region is not None}


def by_region(elsewhere: Mapping[str, str]) -> dict[str, list[str]]:
    """Region → people, both in order, of what `of_people` has found."""
    regions: dict[str, list[str]] = {region: [] for region in sorted(set(elsewhere.values()))}
    for user_id, region in sorted(elsewhere.items()):
        regions[region].append(user_id)
    return regions


async def of(d: Domain, user_id: str) -> Domain:
    """The heart on the database that holds a person's inbox. Raises UNAVAILABLE."""
    if not d.elsewhere:
        return d
    async with acquire(d.pool) as conn:
        found = await of_people(d, conn, [user_id])
    return d.elsewhere[found[user_id]] if user_id in found else d


@asynccontextmanager
async def change(d: Domain, user_id: str, own: Change) -> AsyncIterator[tuple[Domain, Change]]:
    """The heart that holds a person's inbox, and a change there: `own` where that is here, else one
    that is committed before it."""
    home = await of(d, user_id)
    if home is d:
        yield d, own
        return
    async with home.outbox.change() as there:
        yield home, there


async def send(
    d: Domain, change: Change, region: str, event: Message, event_id: UUID | None = None
) -> None:
    """Hand an event over to a region; one whose id was handed over before is not again."""
    id = event_id or uuid4()
    fresh = await shards.keep_event(
        change.conn,
        id,
        _NAMES[type(event)],
        "hub",
        to_json(plain(event)),
        d.now(),
        processed_at=d.now(),
    )
    if fresh:
        shards.hand_over(change, id, region)


async def tell(
    d: Domain, change: Change, event: Emit, users: Iterable[str], by: str | None = None
) -> None:
    """Let those who are not at home here hear an event there, too, in their own rooms. `by`: who
    caused it; between two people who are kept apart there it does not pass."""
    for region, people in by_region(await of_people(d, change.conn, users)).items():
        heard = PeopleHeard(
            user_ids=tuple(people),
            id=event.id,
            event=event.event,
            data=event.data,
            deadline=event.deadline,
            by=by,
        )
        await send(d, change, region, heard)
