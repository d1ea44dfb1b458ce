"""Chat: what people say in a room, kept first and told after; who may not be there (S5-20 …).

A room is there as soon as somebody joins it. A membership is a row until its person leaves the
room by their own word; a ban is a field of that row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from msgspec import structs

from hub.domain.context import Domain
from hub.domain.people import blocks, members
from hub.plumbing.life.together import Together
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.errors import HubError, forbidden, not_found
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


_KEEP: Final = (
    "WITH asked AS (SELECT t.*, u.nickname, m.banned_until > t.at AS banned FROM"  # noqa: S608 - constants
    "  unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::timestamptz[])"
    "   WITH ORDINALITY AS t (user_id, room, client_message_id, content, id, at, n)"
    "  LEFT JOIN users u ON u.id = t.user_id AND u.deleted_at IS NULL"
    "  LEFT JOIN room_memberships m ON m.user_id = t.user_id AND m.room = t.room),"
    " named AS (INSERT INTO room_message_keys AS known"
    "  (user_id, room, client_message_id, message_id, created_at)"
    "  SELECT user_id, room, client_message_id, id, at FROM asked"
    "  WHERE nickname IS NOT NULL AND banned IS NOT TRUE"
    "  ORDER BY user_id, room, client_message_id"
    "  ON CONFLICT (user_id, room, client_message_id) DO UPDATE"
    "  SET message_id = excluded.message_id, created_at = excluded.created_at"
    "  WHERE known.created_at <= excluded.created_at - $7::interval RETURNING message_id),"
    " kept AS (INSERT INTO room_messages (id, created_at, room, user_id, content,"
    "  client_message_id) SELECT id, at, room, user_id, content, client_message_id"
    "  FROM asked JOIN named ON named.message_id = asked.id RETURNING id)"
    " SELECT nickname, banned, EXISTS (SELECT FROM kept WHERE kept.id = asked.id) AS fresh,"
    f" ARRAY({blocks.APART.format('asked.user_id')}) AS apart FROM asked ORDER BY n"
)

Key = tuple[str, str, str]
"""Person, room, clientMessageId."""


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says; `trace` is the mark of the work that it is a part of."""

    user_id: str
    form: ChatSend
    trace: str = ""

    @property
    def key(self) -> Key:
        return self.user_id, chat_room(self.form.room_id), self.form.client_message_id


Talk = Together[Said, ChatSent | HubError]
"""Says something; gives the error where that is one of who says it. Raises UNAVAILABLE."""


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


def open_talk(d: Domain) -> Talk:
    """What is said at once is one change: so a busy room costs a tenth of one for each message.
    While it is told, what was said meanwhile is kept."""

    async def say(said: Sequence[Said]) -> list[ChatSent | HubError]:
        async with d.outbox.change(talk.go_on) as change:
            return await say_all(d, change, said)

    talk = Talk(say, lambda error: isinstance(error, HubError), beside=2)
    return talk


async def send(d: Domain, change: Change, user_id: str, form: ChatSend) -> ChatSent:
    """Say one thing. Raises FORBIDDEN for who is banned, NOT_FOUND for who has gone."""
    (answer,) = await say_all(d, change, [Said(user_id, form)])
    if isinstance(answer, HubError):
        raise answer
    return answer


async def say_all(d: Domain, change: Change, said: Sequence[Said]) -> list[ChatSent | HubError]:
    """Say something in rooms, in this order; of a clientMessageId that is known the message it
    named. It passes by whom its sender blocks, and who blocks them.

    Each message has an outbox key of its own, so that in a busy room none waits until the one
    before it has gone out: what is said at once has no order but that of the bus. Answers FORBIDDEN
    for who is banned, NOT_FOUND for who has gone.
    """
    now, first = d.now(), {one.key: one for one in reversed(said)}
    asked = [one for one in said if first[one.key] is one]  # of two devices at once one is enough
    sent = [
        ChatSent(message_id=str(uuid4()), created_at=now + timedelta(microseconds=number))
        for number in range(len(asked))
    ]
    rows = await _keep(change.conn, asked, sent)
    known = await _known(
        change.conn, [one for one, row in zip(asked, rows, strict=True) if not row["fresh"]]
    )
    answers: dict[Key, ChatSent | HubError] = {}
    for one, row, new in zip(asked, rows, sent, strict=True):
        if row["nickname"] is None:
            answers[one.key] = not_found("user")
        elif row["banned"]:
            answers[one.key] = _banned()
        elif row["fresh"]:
            answers[one.key] = new
            _tell(change, one, row["nickname"], new, tuple(map(user_room, row["apart"])))
        else:
            answers[one.key] = known[one.key]
    return [answers[one.key] for one in said]


async def _keep(conn: Connection, asked: Sequence[Said], sent: Sequence[ChatSent]) -> list[Row]:
    """A row each: `nickname` (null: nobody), `banned`, whether it is `fresh` and was kept, and whom
    its sender stands `apart` from. Keys are taken in one order, or two nodes could wait for each
    other.
    """
    return await conn.fetch(
        _KEEP,
        [one.user_id for one in asked],
        [chat_room(one.form.room_id) for one in asked],
        [one.form.client_message_id for one in asked],
        [one.form.content for one in asked],
        [one.message_id for one in sent],
        [one.created_at for one in sent],
        KNOWN_FOR,
    )


def _tell(change: Change, said: Said, nickname: str, sent: ChatSent, deaf: tuple[str, ...]) -> None:
    message = ChatMessage(
        message_id=sent.message_id,
        room_id=said.form.room_id,
        user_id=said.user_id,
        nickname=nickname,
        content=said.form.content,
        client_message_id=said.form.client_message_id,
        created_at=sent.created_at,
    )
    rooms = (chat_room(said.form.room_id),)
    told = emit("chat:message", message, id=sent.message_id, rooms=rooms, except_rooms=deaf)
    if said.trace:
        told = structs.replace(told, trace=said.trace)
    change.tell(_key(sent.message_id), told)


async def _known(conn: Connection, asked: Sequence[Said]) -> dict[Key, ChatSent]:
    """The messages that were named so before."""
    if not asked:
        return {}
    users, rooms, ids = zip(*(one.key for one in asked), strict=True)
    rows = await conn.fetch(
        "SELECT user_id, room, client_message_id, message_id, created_at FROM room_message_keys"
        " JOIN unnest($1::text[], $2::text[], $3::text[]) AS t (user_id, room, client_message_id)"
        " USING (user_id, room, client_message_id)",
        users,
        rooms,
        ids,
    )
    return {
        tuple(row)[:3]: ChatSent(message_id=str(row["message_id"]), created_at=row["created_at"])
        for row in rows
    }


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
    change.tell(
        _key(str(id)), emit("chat:message-deleted", message, id=str(uuid4()), rooms=(room,))
    )


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


def _banned() -> HubError:
    return forbidden("You are banned from this room.")


def _key(id: str) -> str:
    """Of the outbox: a deletion goes out after its message."""
    return f"message:{id}"


async def deaf_to(d: Domain, user_id: str) -> tuple[str, ...]:
    """The rooms of people who do not hear that somebody comes and goes: they are blocked, or block.
    Raises UNAVAILABLE.
    """
    async with acquire(d.pool) as conn:
        return await blocks.deaf_to(conn, user_id)
