"""Chat: what people say in a room, kept first and told after; who may not be there (S5-20 …).

A room is there as soon as somebody joins it. A membership is a row until its person leaves the
room by their own word; a ban is a field of that row.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from hub.domain.context import Domain
from hub.domain.people import blocks, members
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.errors import forbidden, not_found
from protocol.events import Move, emit
from protocol.events.chat import (
    ChatBan,
    ChatBanned,
    ChatMessage,
    ChatMessageDeleted,
    ChatSend,
    ChatSent,
)
from protocol.names import CHAT, chat_room, user_room
from protocol.payload import uuid_of

RECENT: Final = 50
"""Messages given with a join."""

KNOWN_FOR: Final = timedelta(hours=24)
"""How long a clientMessageId names the same message."""

_SHOWN: Final = (
    "SELECT m.*, u.nickname FROM room_messages m JOIN users u ON u.id = m.user_id"
    " WHERE m.room = $1 AND m.deleted_at IS NULL AND m.user_id <> ALL($2::text[])"
)
"""SQL: what may be read in room $1 by who has nothing to do with the people of $2."""


async def check_entry(d: Domain, user_id: str, room: str) -> None:
    """Raises FORBIDDEN for who is banned there now."""
    async with acquire(d.pool) as conn:
        await _check_ban(d, conn, user_id, room)


async def _check_ban(d: Domain, conn: Connection, user_id: str, room: str) -> None:
    banned = await conn.fetchval(
        "SELECT banned_until > $3 FROM room_memberships WHERE user_id = $1 AND room = $2",
        user_id,
        room,
        d.now(),
    )
    if banned:
        raise _banned()


async def enter(d: Domain, user_id: str, room: str) -> tuple[ChatMessage, ...]:
    """Keep that somebody is a member; the last messages of the room, oldest first.

    Raises FORBIDDEN for who is banned: asked again here, when the socket is in the room already, so
    that no ban of this moment is missed.
    """
    async with acquire(d.pool) as conn, conn.transaction():
        await members.ensure(d, conn, user_id)
        await conn.execute(
            "INSERT INTO room_memberships (user_id, room, joined_at) VALUES ($1, $2, $3)"
            " ON CONFLICT DO NOTHING",
            user_id,
            room,
            d.now(),
        )
        await _check_ban(d, conn, user_id, room)
        rows = await _last(conn, user_id, room, RECENT)
    return tuple(_message(row) for row in reversed(rows))


async def leave(d: Domain, user_id: str, room: str) -> None:
    """No member any more; a ban outlasts that."""
    async with acquire(d.pool) as conn:
        await forget_member(d, conn, user_id, room)


async def forget_member(d: Domain, conn: Connection, user_id: str, room: str) -> None:
    """A ban that holds stays."""
    await conn.execute(
        "DELETE FROM room_memberships WHERE user_id = $1 AND room = $2"
        " AND (banned_until IS NULL OR banned_until <= $3)",
        user_id,
        room,
        d.now(),
    )


async def send(d: Domain, change: Change, user_id: str, form: ChatSend) -> ChatSent:
    """Say something in a room; of a clientMessageId that is known the message it named. It passes
    by whom its sender blocks, and who blocks them.

    Each message has an outbox key of its own, so that in a busy room none waits until the one
    before it has gone out: what is said at once has no order but that of the bus. Raises FORBIDDEN
    for who is banned.
    """
    room, id, now = chat_room(form.room_id), uuid4(), d.now()
    row = await change.conn.fetchrow(
        "WITH said AS (INSERT INTO room_message_keys AS known"
        "  (user_id, room, client_message_id, message_id, created_at) VALUES ($1, $2, $3, $4, $5)"
        "  ON CONFLICT (user_id, room, client_message_id) DO UPDATE"
        "  SET message_id = $4, created_at = $5 WHERE known.created_at <= $6"
        "  RETURNING message_id),"
        " kept AS (INSERT INTO room_messages (id, created_at, room, user_id, content,"
        "  client_message_id) SELECT message_id, $5, $2, $1, $7, $3 FROM said RETURNING id)"
        " SELECT u.nickname, m.banned_until > $5 AS banned, EXISTS (SELECT FROM kept) AS fresh"
        " FROM users u LEFT JOIN room_memberships m ON m.user_id = u.id AND m.room = $2"
        " WHERE u.id = $1 AND u.deleted_at IS NULL",
        user_id,
        room,
        form.client_message_id,
        id,
        now,
        now - KNOWN_FOR,
        form.content,
    )
    if row is None:
        raise not_found("user")
    if row["banned"]:
        raise _banned()
    if not row["fresh"]:
        return await _known(change.conn, user_id, room, form.client_message_id)
    message = ChatMessage(
        message_id=str(id),
        room_id=form.room_id,
        user_id=user_id,
        nickname=row["nickname"],
        content=form.content,
        client_message_id=form.client_message_id,
        created_at=now,
    )
    deaf = await blocks.deaf_to(change.conn, user_id)
    told = emit("chat:message", message, id=str(id), rooms=(room,), except_rooms=deaf)
    change.tell(_key(id), told)
    return ChatSent(message_id=str(id), created_at=now)


async def _known(conn: Connection, user_id: str, room: str, client_message_id: str) -> ChatSent:
    row = await conn.fetchrow(
        "SELECT message_id, created_at FROM room_message_keys"
        " WHERE user_id = $1 AND room = $2 AND client_message_id = $3",
        user_id,
        room,
        client_message_id,
    )
    assert row is not None
    return ChatSent(message_id=str(row["message_id"]), created_at=row["created_at"])


async def delete(d: Domain, change: Change, admin: str, room_id: str, message_id: str) -> None:
    """Take a message back; again does nothing. Raises NOT_FOUND."""
    room, id, now = chat_room(room_id), uuid_of(message_id), d.now()
    known = await change.conn.fetchrow(
        "SELECT deleted_at FROM room_messages WHERE id = $1 AND room = $2 FOR UPDATE", id, room
    )
    if known is None or id is None:
        raise not_found("message")
    if known["deleted_at"] is not None:
        return
    await change.conn.execute(
        "UPDATE room_messages SET deleted_at = $2, deleted_by = $3 WHERE id = $1", id, now, admin
    )
    message = ChatMessageDeleted(
        message_id=str(id), room_id=room_id, deleted_by=admin, deleted_at=now
    )
    change.tell(_key(id), emit("chat:message-deleted", message, id=str(uuid4()), rooms=(room,)))


async def ban(d: Domain, change: Change, form: ChatBan) -> ChatBanned:
    """Out of the room on all nodes and in stored sessions, and not in again until then.

    Raises NOT_FOUND for a person nobody knows.
    """
    room, until = chat_room(form.room_id), d.now() + timedelta(minutes=form.minutes)
    kept = await change.conn.fetchval(
        "INSERT INTO room_memberships (user_id, room, joined_at, banned_until)"
        " SELECT id, $2, $3, $4 FROM users WHERE id = $1"
        " ON CONFLICT (user_id, room) DO UPDATE SET banned_until = $4 RETURNING user_id",
        form.user_id,
        room,
        d.now(),
        until,
    )
    if kept is None:
        raise not_found("user")
    if form.minutes:
        out = Move(room=user_room(form.user_id), leave=(room,), namespace=CHAT, keep_asked=False)
        change.tell(room, out)
    return ChatBanned(banned_until=until)


async def history(
    d: Domain, user_id: str, room: str, before: str | None, limit: int
) -> list[ChatMessage]:
    """Messages of a room, newest first; `before`: the id of the last one of the page before.

    Raises FORBIDDEN for who is no member or is banned, NOT_FOUND for an unknown `before`.
    """
    rows: Sequence[Row]
    async with acquire(d.pool) as conn:
        member = await conn.fetchval(
            "SELECT banned_until IS NULL OR banned_until <= $3 FROM room_memberships"
            " WHERE user_id = $1 AND room = $2",
            user_id,
            room,
            d.now(),
        )
        if not member:
            raise forbidden("Only members of the room may read it.")
        if before is None:
            rows = await _last(conn, user_id, room, limit)
        else:
            rows = await _before(conn, user_id, room, before, limit)
    return [_message(row) for row in rows]


async def _last(conn: Connection, user_id: str, room: str, limit: int) -> Sequence[Row]:
    return await conn.fetch(
        f"{_SHOWN} ORDER BY m.created_at DESC, m.id LIMIT $3",
        room,
        await blocks.apart_from(conn, user_id),
        limit,
    )


async def _before(
    conn: Connection, user_id: str, room: str, before: str, limit: int
) -> Sequence[Row]:
    id = uuid_of(before)
    at: datetime | None = await conn.fetchval(
        "SELECT created_at FROM room_messages WHERE id = $1 AND room = $2", id, room
    )
    if at is None:
        raise not_found("message")
    return await conn.fetch(
        f"{_SHOWN} AND m.created_at <= $3 AND (m.created_at < $3 OR m.id > $4)"
        " ORDER BY m.created_at DESC, m.id LIMIT $5",
        room,
        await blocks.apart_from(conn, user_id),
        at,
        id,
        limit,
    )


def _message(row: Row) -> ChatMessage:
    return ChatMessage(
        message_id=str(row["id"]),
        room_id=row["room"].partition(":")[2],
        user_id=row["user_id"],
        nickname=row["nickname"],
        content=row["content"],
        client_message_id=row["client_message_id"],
        created_at=row["created_at"],
    )


def _banned() -> Exception:
    return forbidden("You are banned from this room.")


def _key(id: UUID) -> str:
    """Of the outbox: a deletion goes out after its message."""
    return f"message:{id}"


async def deaf_to(d: Domain, user_id: str) -> tuple[str, ...]:
    """The rooms of people who do not hear that somebody comes and goes: they are blocked, or block.
    Raises UNAVAILABLE.
    """
    async with acquire(d.pool) as conn:
        return await blocks.deaf_to(conn, user_id)
