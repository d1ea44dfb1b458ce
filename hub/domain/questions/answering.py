"""Answers: given, rewritten, taken back, read. The asker hears at once, and the first one stops the
clock."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import uuid4

from hub.domain import homes
from hub.domain.context import Domain, Known, outgoing
from hub.domain.notifications import decisions
from hub.domain.notifications.writing import News, notify
from hub.domain.people import blocks, members
from hub.domain.people.members import author_of
from hub.domain.questions import claims, urgent
from hub.domain.questions.progress import advance
from hub.domain.questions.question import Question, excerpt, locked
from hub.domain.rules.kinds import ANSWER_CREATED
from hub.domain.rules.states import UrgentState
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from hub.plumbing.telemetry.metrics import ANSWERS_WITHIN_TARGET
from protocol.domain_events import AnswerCreatedEvent
from protocol.errors import conflict, forbidden, not_found
from protocol.events import emit
from protocol.events.questions import AnswerCreated, Author
from protocol.names import cached_question, question_room, user_room
from protocol.rest import answers as rest

ANSWER_TARGET_S: Final = 600
"""Within this an urgent question should have its first answer (S2-007)."""


@dataclass(frozen=True, slots=True)
class Answer:
    id: str
    question_id: str
    author: Author
    content: str
    is_accepted: bool
    created_at: datetime
    accepted_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Answer":
        """Of a row of answers beside its person's nickname and mark."""
        return cls(
            id=row["id"],
            question_id=row["question_id"],
            author=author_of(row),
            content=row["content"],
            is_accepted=row["is_accepted"],
            created_at=row["created_at"],
            accepted_at=row["accepted_at"],
        )

    def shown(self, points: int | None = None) -> rest.Answer:
        """For a reader; `points`: what its acceptance brought, right after it."""
        return rest.Answer(
            id=self.id,
            question_id=self.question_id,
            author=self.author,
            content=self.content,
            is_accepted=self.is_accepted,
            created_at=self.created_at,
            accepted_at=self.accepted_at,
            points=points,
        )


async def answer(
    d: Domain,
    change: Change,
    answerer: str,
    question_id: str,
    content: str,
    *,
    id: str | None = None,
    at: datetime | None = None,
) -> rest.Answer:
    """Write an answer and tell whom it concerns. `id`, `at`: what it is called and when it was
    given, as another service tells it; then no service is told again.

    Raises NOT_FOUND, CONFLICT for a question that was closed then, Known for an answer that is
    here.
    """
    conn, told = change.conn, id is not None
    id, at = id or str(uuid4()), at or d.now()
    await _check_new(conn, id, answerer, question_id)
    question = await locked(conn, question_id, at)
    if not question.active and not (question.closed_at or at) > at:
        raise conflict("The question is closed.")
    await members.ensure(d, conn, answerer)
    change.invalidate(cached_question(question.id))
    apart = await blocks.between(conn, answerer, question.user_id)
    # one by the asker, or one that the asker does not hear of, stops no clock
    counts = answerer != question.user_id and not apart
    given = await _insert(conn, id, answerer, question, content, at, counts=counts)
    await claims.free(conn, question.id, answerer, d.now())
    if answerer != question.user_id:
        await _tell_asker(d, change, question, given, apart=apart)
    if counts and question.urgent:
        await _stop_clock(d, change, question, given)
    if not told:
        _tell_services(d, change, question, given)
    return given.shown()


async def rewrite(
    d: Domain, change: Change, answer_id: str, content: str, *, writer: str | None = None
) -> rest.Answer:
    """Put other words into an answer. `writer`: who must have written it. Who was told of the first
    words is not told again.

    Raises NOT_FOUND, FORBIDDEN for somebody else's.
    """
    row = await change.conn.fetchrow(
        "SELECT a.*, u.nickname, u.is_local_verified FROM answers a JOIN users u"
        " ON u.id = a.user_id WHERE a.id = $1 AND a.deleted_at IS NULL FOR UPDATE OF a",
        answer_id,
    )
    if row is None:
        raise not_found("answer")
    if writer is not None and row["user_id"] != writer:
        raise forbidden("Only its writer may do this.")
    await change.conn.execute(
        "UPDATE answers SET content = $2, updated_at = $3 WHERE id = $1",
        answer_id,
        content,
        d.now(),
    )
    return replace(Answer.of(row), content=content).shown()


async def take_back(
    d: Domain, change: Change, answer_id: str, *, writer: str | None = None
) -> None:
    """Delete an answer. If it was the only one that counted, and its urgent question's deadline has
    not passed, the waves go on. `writer`: who must have written it.

    Raises NOT_FOUND, FORBIDDEN for somebody else's, CONFLICT for an accepted one.
    """
    conn, now = change.conn, d.now()
    question_id = await conn.fetchval(
        "SELECT question_id FROM answers WHERE id = $1 AND deleted_at IS NULL", answer_id
    )
    if question_id is None:
        raise not_found("answer")
    question = await locked(conn, question_id)
    row = await conn.fetchrow("SELECT * FROM answers WHERE id = $1", answer_id)
    if row is None or row["deleted_at"] is not None:
        raise not_found("answer")
    if writer is not None and row["user_id"] != writer:
        raise forbidden("Only its writer may do this.")
    if row["is_accepted"]:
        raise conflict("An accepted answer stays.")
    await conn.execute(
        "UPDATE answers SET deleted_at = $2, updated_at = $2 WHERE id = $1", answer_id, now
    )
    change.invalidate(cached_question(question.id))
    first = await conn.fetchval(
        "UPDATE questions q SET answer_count = answer_count - 1,"
        " updated_at = greatest(updated_at, $2), first_answer_at = (SELECT min(created_at)"
        "  FROM answers a WHERE a.question_id = q.id AND a.deleted_at IS NULL"
        "  AND a.user_id <> q.user_id AND NOT EXISTS (SELECT FROM blocks b"
        "   WHERE b.user_id = q.user_id AND b.blocked_id = a.user_id"
        "   OR b.user_id = a.user_id AND b.blocked_id = q.user_id))"
        " WHERE id = $1 RETURNING first_answer_at",
        question.id,
        now,
    )
    if first is None and question.urgent_state is UrgentState.ANSWERED and not question.late(now):
        await advance(d, change, await urgent.resume(d, change, question))


async def _check_new(conn: Connection, id: str, answerer: str, question_id: str) -> None:
    """Raises Known for an answer that is here, CONFLICT when its id is another one's."""
    row = await conn.fetchrow("SELECT question_id, user_id FROM answers WHERE id = $1", id)
    if row is None:
        return
    if (row["question_id"], row["user_id"]) != (question_id, answerer):
        raise conflict("Another answer has this id.")
    raise Known("This answer is here already.")


async def _insert(
    conn: Connection,
    id: str,
    answerer: str,
    question: Question,
    content: str,
    at: datetime,
    *,
    counts: bool,
) -> Answer:
    who = await members.author(conn, answerer)
    written = await conn.fetchval(
        "INSERT INTO answers (id, question_id, user_id, content, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (id) DO NOTHING RETURNING id",
        id,
        question.id,
        answerer,
        content,
        at,
    )
    if written is None:  # told by two events at once
        await _check_new(conn, id, answerer, question.id)
    await conn.execute(
        "UPDATE questions SET answer_count = answer_count + 1,"
        " updated_at = greatest(updated_at, $2), first_answer_at = CASE WHEN $3"
        " THEN least(first_answer_at, $2) ELSE first_answer_at END WHERE id = $1",
        question.id,
        at,
        counts,
    )
    return Answer(id, question.id, who, content, False, at, None)


def _elapsed_s(question: Question, at: datetime) -> float:
    return max(0.0, (at - question.created_at).total_seconds())


async def _tell_asker(
    d: Domain, change: Change, question: Question, given: Answer, *, apart: bool
) -> None:
    asker = question.user_id
    news = News.of_ours(
        asker,
        ANSWER_CREATED,
        await members.locale_of(change.conn, asker),
        {"nickname": given.author.nickname, "excerpt": excerpt(given.content)},
        question_id=question.id,
        answer_id=given.id,
        dedup_key=f"answer:{given.id}",
        by=given.author.user_id,
    )
    if apart:
        await decisions.blocked(change.conn, d.now(), asker, given.id)
        written = []
    else:
        written = await notify(d, change, [news])
    message = AnswerCreated(
        notification_id=str(written[0].id) if written else None,
        answer_id=given.id,
        question_id=question.id,
        excerpt=excerpt(given.content),
        answerer=given.author,
        created_at=given.created_at,
        elapsed_s=round(_elapsed_s(question, given.created_at), 3),
    )
    rooms = (user_room(asker), question_room(question.id))
    deaf = await blocks.deaf_to(change.conn, given.author.user_id)
    event = emit("answer:created", message, id=str(uuid4()), rooms=rooms, except_rooms=deaf)
    change.tell(question.id, event)
    if not apart:
        await homes.tell(d, change, event, [asker], by=given.author.user_id)


async def _stop_clock(d: Domain, change: Change, question: Question, given: Answer) -> None:
    """What an answer means for its urgent question, which may have an earlier or a later one."""
    known, at = question.first_answer_at, given.created_at
    late = known is None or _elapsed_s(question, known) > ANSWER_TARGET_S
    if late and _elapsed_s(question, at) <= ANSWER_TARGET_S:
        ANSWERS_WITHIN_TARGET.inc()
    if known is None and question.active:
        await urgent.answered(d, change, question, at)


def _tell_services(d: Domain, change: Change, question: Question, given: Answer) -> None:
    event = AnswerCreatedEvent(
        answer_id=given.id,
        question_id=question.id,
        answerer_id=given.author.user_id,
        questioner_id=question.user_id,
        excerpt=excerpt(given.content),
        created_at=given.created_at,
    )
    change.tell(question.id, outgoing(d, "answer.created", event))


async def answers(
    d: Domain, question_id: str, after: str | None, limit: int, *, may_lag: bool = False
) -> rest.Answers:
    """Newest first, by keyset; `after` is the `next` of the page before."""
    rows = await d.reads.run(
        lambda conn: conn.fetch(
            "SELECT a.*, u.nickname, u.is_local_verified FROM answers a JOIN users u"
            " ON u.id = a.user_id WHERE question_id = $1 AND a.deleted_at IS NULL AND ($2::text"
            " IS NULL OR (a.created_at, a.id) < (SELECT created_at, id FROM answers WHERE id = $2))"
            " ORDER BY a.created_at DESC, a.id DESC LIMIT $3",
            question_id,
            after,
            limit,
        ),
        may_lag=may_lag,
    )
    items = tuple(Answer.of(row).shown() for row in rows)
    return rest.Answers(items=items, next=items[-1].id if len(items) == limit else None)
