"""Profiles: what a person, or a service that knows them, says of who they are."""

from typing import Final

from msgspec import UNSET, structs

from hub.domain.context import Domain
from hub.domain.people import members, standing
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.errors import forbidden, invalid, not_found
from protocol.names import cached_user
from protocol.rest.people import Profile, ProfileChange

NOT_ONES_OWN: Final = frozenset({"email", "is_local_verified", "kakao_user_key"})
"""What nobody says of themselves: a service has checked it."""


async def find(d: Domain, user_id: str, *, own: bool) -> Profile:
    """`own`: somebody with a token of their own is known from then on. Raises NOT_FOUND."""
    async with acquire(d.pool) as conn:
        if own:
            await members.ensure(d, conn, user_id)
        return _shown(await _row(conn, user_id))


async def set_to(
    d: Domain, change: Change, user_id: str, form: ProfileChange, *, own: bool
) -> Profile:
    """Change what was sent; nothing older that is told later changes it back. Without consent the
    position goes, and all sockets of the person leave its rooms.

    Raises NOT_FOUND, FORBIDDEN for a field that its person (`own`) has no right to say,
    INVALID_PAYLOAD for a neighbourhood that nobody knows.
    """
    conn = change.conn
    told = {name: value for name, value in structs.asdict(form).items() if value is not UNSET}
    if own and NOT_ONES_OWN & told.keys():
        raise forbidden("email, isLocalVerified and kakaoUserKey are for services to say.")
    home = told.get("neighbourhood_code")
    if home is not None and not d.atlas.is_neighbourhood(home):
        raise invalid("neighbourhoodCode is the code of no neighbourhood.")
    if own:
        await members.ensure(d, conn, user_id)
    await _row(conn, user_id)
    before = await standing.locked(d, conn, user_id)
    consent = told.pop("location_consent", None)
    if consent is not None and consent != (before.consented_at is not None):
        told["location_consent_at"] = d.now() if consent else None
    await members.write_facts(conn, user_id, told, d.now())
    change.invalidate(cached_user(user_id))
    if consent is False:
        await conn.execute("DELETE FROM user_locations WHERE user_id = $1", user_id)
    await standing.tell_move(d, change, user_id, before)
    return _shown(await _row(conn, user_id))


async def _row(conn: Connection, user_id: str) -> Row:
    row = await conn.fetchrow("SELECT * FROM users WHERE id = $1 AND deleted_at IS NULL", user_id)
    if row is None:
        raise not_found("user")
    return row


def _shown(row: Row) -> Profile:
    return Profile(
        id=row["id"],
        nickname=row["nickname"],
        email=row["email"],
        region_code=row["region_code"],
        neighbourhood_code=row["neighbourhood_code"],
        is_local_verified=row["is_local_verified"],
        locale=row["locale"],
        timezone=row["timezone"],
        kakao_user_key=row["kakao_user_key"],
        location_consent=row["location_consent_at"] is not None,
        created_at=row["created_at"],
    )
