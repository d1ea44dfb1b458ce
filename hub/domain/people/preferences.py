"""Preferences: what a person wants to be told, of what, and when not."""

from collections.abc import Mapping
from datetime import time
from typing import Any

from msgspec import UNSET, structs

from hub.domain.context import Domain
from hub.domain.people import members, standing
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.errors import Code, HubError, invalid
from protocol.events import Move
from protocol.rest.people import MOST_FOLLOWED, Preferences, PreferencesChange


async def find(d: Domain, user_id: str) -> Preferences:
    """Those of whoever has set none are the defaults of the table."""
    async with acquire(d.pool) as conn:
        await members.ensure(d, conn, user_id)
        return _shown(await _row(conn, user_id))


async def set_to(d: Domain, change: Change, user_id: str, form: PreferencesChange) -> Preferences:
    """Change what was sent; all sockets of the person move at once, on all nodes.

    Raises INVALID_PAYLOAD for a neighbourhood that nobody knows, and for quiet hours without a
    beginning or an end.
    """
    before = await standing.locked(d, change.conn, user_id)
    told = {name: value for name, value in structs.asdict(form).items() if value is not UNSET}
    muted = told.get("muted_neighbourhoods", ())
    if any(code not in before.muted and not d.atlas.is_neighbourhood(code) for code in muted):
        raise invalid("mutedNeighbourhoods holds a code of no neighbourhood.")
    for name in ("quiet_from", "quiet_to"):
        if told.get(name) is not None:
            told[name] = time.fromisoformat(told[name])
    _check_quiet(dict(await _row(change.conn, user_id)) | told)
    await _write(d, change.conn, user_id, told)
    await standing.tell_move(d, change, user_id, before)
    return _shown(await _row(change.conn, user_id))


async def follow(
    d: Domain, change: Change, user_id: str, hashtag: str
) -> tuple[tuple[str, ...], Move]:
    """Follow a hashtag (in its normal form): all followed now, and how the sockets move. Following
    again does nothing. Raises ROOM_LIMIT over 20.
    """
    before = await standing.locked(d, change.conn, user_id)
    followed = tuple(dict.fromkeys((*before.followed, hashtag)))
    if len(followed) > MOST_FOLLOWED:
        raise HubError(Code.ROOM_LIMIT, f"{MOST_FOLLOWED} hashtags at most.")
    return await _follow(d, change, user_id, before, followed)


async def unfollow(
    d: Domain, change: Change, user_id: str, hashtag: str
) -> tuple[tuple[str, ...], Move]:
    """As `follow`, the other way round."""
    before = await standing.locked(d, change.conn, user_id)
    followed = tuple(one for one in before.followed if one != hashtag)
    return await _follow(d, change, user_id, before, followed)


async def _follow(
    d: Domain,
    change: Change,
    user_id: str,
    before: standing.Standing,
    followed: tuple[str, ...],
) -> tuple[tuple[str, ...], Move]:
    await _write(d, change.conn, user_id, {"followed_hashtags": followed})
    return followed, await standing.tell_move(d, change, user_id, before)


def _check_quiet(wanted: Mapping[str, Any]) -> None:
    begin, end = wanted["quiet_from"], wanted["quiet_to"]
    if (begin is None) != (end is None):
        raise invalid("Quiet hours have both quietFrom and quietTo, or neither.")
    if begin is not None and begin == end:
        raise invalid("Quiet hours end at another time than they begin.")


async def _write(d: Domain, conn: Connection, user_id: str, told: Mapping[str, Any]) -> None:
    if not told:
        return
    fields = ", ".join(f"{name} = ${n}" for n, name in enumerate(told, 3))
    await conn.execute(
        f"UPDATE notification_preferences SET {fields}, updated_at = $2 WHERE user_id = $1",  # noqa: S608 - names of our form
        user_id,
        d.now(),
        *told.values(),
    )


async def _row(conn: Connection, user_id: str) -> Row:
    row = await conn.fetchrow("SELECT * FROM notification_preferences WHERE user_id = $1", user_id)
    assert row is not None
    return row


def _shown(row: Row) -> Preferences:
    return Preferences(
        push_enabled=row["push_enabled"],
        email_enabled=row["email_enabled"],
        kakao_enabled=row["kakao_enabled"],
        urgent_enabled=row["urgent_enabled"],
        answer_enabled=row["answer_enabled"],
        digest_enabled=row["digest_enabled"],
        radius_m=row["radius_m"],
        muted_neighbourhoods=tuple(row["muted_neighbourhoods"]),
        followed_hashtags=tuple(row["followed_hashtags"]),
        quiet_from=_told(row["quiet_from"]),
        quiet_to=_told(row["quiet_to"]),
        urgent_in_quiet=row["urgent_in_quiet"],
    )


def _told(at: time | None) -> str | None:
    return None if at is None else at.strftime("%H:%M")
