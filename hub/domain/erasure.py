"""Erasure: user.deleted takes a person's contents, addresses and places; bare ids stay as keys.

Rows that others need stay without a name: their questions and answers say '(deleted)', points and
decisions keep the id that nobody can look up any more. What is told to the bus dies with its logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from hub.domain import homes
from hub.domain.context import Domain, Known
from hub.domain.notifications import retraction
from hub.domain.people import members, revocation
from hub.domain.questions import closing
from hub.domain.rules.states import QuestionStatus
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.between_regions import WordsErased
from protocol.mail_address import comparison_key
from protocol.names import QUESTION_LISTS, cached_question, cached_user, user_room

AT_ONCE: Final = 500
"""Questions, and answers, of one event to another region."""

WHOLLY_THEIRS: Final = (
    "devices",
    "user_locations",
    "notification_preferences",
    "refresh_tokens",
    "notification_dedup",
    "question_claims",
    "question_likes",
    "question_recipients",
    "room_memberships",
    "room_message_keys",
)
"""Tables whose rows of a person go."""

_EMPTIED: Final = (
    "UPDATE answers SET content = '(deleted)' WHERE user_id = $1",
    "UPDATE room_messages SET content = '(deleted)', client_message_id = '' WHERE user_id = $1",
    "UPDATE questions SET title = '(deleted)', content = '(deleted)', hashtags = '{}',"
    " category = NULL, lat = NULL, lng = NULL, cell = NULL WHERE user_id = $1",
    "UPDATE decisions SET detail = '{}' WHERE user_id = $1 AND detail <> '{}'",
    "UPDATE deliveries SET provider_message_id = NULL WHERE user_id = $1"
    " AND provider_message_id IS NOT NULL",
)
"""What stays as a row and says nothing any more. $1: the person."""


_UNLIKED: Final = (
    "UPDATE questions SET like_count = like_count - 1 WHERE id IN"
    " (SELECT question_id FROM question_likes WHERE user_id = $1)"
)


@dataclass(frozen=True, slots=True)
class _Traces:
    """By what others' rows name a person. `named`: the id as JSON text, and the address."""

    user_id: str
    named: list[str]
    titles: list[str]
    questions: list[str]
    answers: list[str]
    messages: list[str]

    @property
    def ids(self) -> list[str]:
        """As JSON texts: of everything whose contents a payload may repeat."""
        return [f'"{id}"' for id in (*self.questions, *self.answers, *self.messages)]


async def erase(d: Domain, change: Change, user_id: str) -> None:
    """Raises Known for who is erased already. Whoever was never here is erased, too: what comes
    late about them is not taken any more.
    """
    conn = change.conn
    await members.ensure(d, conn, user_id)
    await revocation.lock(conn, user_id)
    row = await conn.fetchrow("SELECT email, deleted_at FROM users WHERE id = $1", user_id)
    assert row is not None
    if row["deleted_at"] is not None:
        raise Known("This person is erased already.")
    await revocation.revoke_person(d, change, user_id)
    await _close_questions(d, change, user_id)
    traces = await _traces(conn, user_id, row["email"])
    cached = map(cached_question, traces.questions)
    change.invalidate(cached_user(user_id), QUESTION_LISTS, *cached)
    await conn.execute(_UNLIKED, user_id)
    await conn.execute("DELETE FROM blocks WHERE user_id = $1 OR blocked_id = $1", user_id)
    for table in WHOLLY_THEIRS:
        await conn.execute(f"DELETE FROM {table} WHERE user_id = $1", user_id)  # noqa: S608 - ours
    await members.ensure(d, conn, user_id)  # preferences as of somebody who never had any
    for statement in _EMPTIED:
        await conn.execute(statement, user_id)
    await _empty_notifications(d, change, traces)
    await _empty_payloads(conn, traces)
    await _tell_regions(d, change, traces)
    await _forget_reports(conn, traces)
    if row["email"] is not None:
        await _hash_suppression(conn, comparison_key(row["email"]))
    await conn.execute(
        "UPDATE users SET email = NULL, nickname = '(deleted)', kakao_user_key = NULL,"
        " role = 'user', region_code = 'default', neighbourhood_code = NULL,"
        " is_local_verified = false, locale = DEFAULT, timezone = DEFAULT,"
        " location_consent_at = NULL, updated_at = $2, deleted_at = $2 WHERE id = $1",
        user_id,
        d.now(),
    )


async def _hash_suppression(conn: Connection, address: str) -> None:
    """Where the hash is there already, another person had the address before."""
    await conn.execute(
        "WITH plain AS (DELETE FROM suppressions WHERE address = $1 RETURNING *)"  # noqa: S608 - a constant
        " INSERT INTO suppressions (address, reason, created_at)"
        f" SELECT {members.HASHED.format('address')}, reason, created_at FROM plain"
        " ON CONFLICT DO NOTHING",
        address,
    )


async def _close_questions(d: Domain, change: Change, user_id: str) -> None:
    """Nobody is left to answer: waves end, and who was woken is told."""
    rows = await change.conn.fetch(
        "SELECT id FROM questions WHERE user_id = $1 AND status = 'active' ORDER BY id", user_id
    )
    for row in rows:
        await closing.close(d, change, row["id"], QuestionStatus.CLOSED)


async def _traces(conn: Connection, user_id: str, email: str | None) -> _Traces:
    questions = await conn.fetch("SELECT id, title FROM questions WHERE user_id = $1", user_id)
    answers = await conn.fetch("SELECT id FROM answers WHERE user_id = $1", user_id)
    messages = await conn.fetch("SELECT id FROM room_messages WHERE user_id = $1", user_id)
    named = [_json(user_id), *([email] if email else [])]
    return _Traces(
        user_id=user_id,
        named=named,
        titles=[row["title"] for row in questions],
        questions=[row["id"] for row in questions],
        answers=[row["id"] for row in answers],
        messages=[str(row["id"]) for row in messages],
    )


def _json(text: str) -> str:
    """As PostgreSQL prints it inside a jsonb."""
    return msgspec.json.encode(text).decode()


_NAMES: Final = (
    "EXISTS (SELECT FROM unnest({words}::text[]) AS word WHERE strpos({text}, word) > 0)"
)
"""SQL: whether a text holds any of these words."""


async def _empty_notifications(d: Domain, change: Change, traces: _Traces) -> None:
    """Their own, those about what they asked or answered, and those that name them; who else has
    one is told that it is taken back. A digest is of many questions, and repeats their titles."""
    text = "concat_ws(' ', title, body, data, words)"
    rows = await change.conn.fetch(
        "SELECT id, user_id FROM notifications"  # noqa: S608 - constants
        " WHERE user_id = $1 OR question_id = ANY($2::text[]) OR answer_id = ANY($3::text[])"
        f" OR {_NAMES.format(words='$4', text=text)}"
        f" OR kind = 'digest' AND {_NAMES.format(words='$5', text=text)}",
        traces.user_id,
        traces.questions,
        traces.answers,
        traces.named,
        traces.titles,
    )
    others = [row["id"] for row in rows if row["user_id"] != traces.user_id]
    await retraction.withdraw(d, change, others)  # locks heads, which stand before their rows
    await change.conn.execute(
        "UPDATE notifications SET title = '(deleted)', body = '', data = '{}', words = NULL"
        " WHERE id = ANY($1::uuid[])",
        [row["id"] for row in rows],
    )


async def _empty_events(conn: Connection, words: Sequence[str]) -> None:
    await conn.execute(
        "UPDATE inbox_events SET payload = '{}' WHERE payload <> '{}'"  # noqa: S608 - constants
        f" AND {_NAMES.format(words='$1', text='payload::text')}",
        words,
    )


async def _tell_regions(d: Domain, change: Change, traces: _Traces) -> None:
    """Their people may have been told of what was asked and answered here."""
    questions, answers = traces.questions, traces.answers
    for begin in range(0, max(len(questions), len(answers)), AT_ONCE):
        end = begin + AT_ONCE
        some = WordsErased(question_ids=questions[begin:end], answer_ids=answers[begin:end])
        for region in d.shards.urls:
            await homes.send(d, change, region, some)


async def erased_elsewhere(d: Domain, change: Change, event: WordsErased, at: datetime) -> None:
    """Whoever wrote these was erased where they are."""
    traces = _Traces("", [], [], event.question_ids, event.answer_ids, [])
    await _empty_notifications(d, change, traces)
    await _empty_events(change.conn, traces.ids)


async def _empty_payloads(conn: Connection, traces: _Traces) -> None:
    """What other services told and what was told on, whoever it was about."""
    words = [*traces.named, *traces.ids]
    await _empty_events(conn, words)
    await conn.execute(
        "UPDATE broadcasts SET payload = '{}'"  # noqa: S608 - constants
        f" WHERE {_NAMES.format(words='$1', text='payload::text')}",
        words,
    )
    await conn.execute(
        "DELETE FROM idempotency_keys WHERE subject = $1"  # noqa: S608 - constants
        f" OR {_NAMES.format(words='$2', text='response::text')}",
        f"user:{traces.user_id}",
        words,
    )
    # what has not gone out yet goes, and is past its time within a day
    await conn.execute(
        "DELETE FROM outbox WHERE published_at IS NOT NULL AND EXISTS"
        " (SELECT FROM unnest($1::bytea[]) AS word WHERE position(word in payload) > 0)",
        _packed([traces.user_id, user_room(traces.user_id), *traces.questions, *traces.answers]),
    )


def _packed(texts: Sequence[str]) -> list[bytes]:
    """As an outbox row holds them."""
    return [msgspec.msgpack.encode(text) for text in texts]


async def _forget_reports(conn: Connection, traces: _Traces) -> None:
    """What they wrote, and what was written of them."""
    subjects = [traces.user_id, *traces.questions, *traces.answers, *traces.messages]
    await conn.execute(
        "UPDATE reports SET reason = '(deleted)' WHERE user_id = $1"
        " OR subject_id = ANY($2::text[])",
        traces.user_id,
        subjects,
    )
