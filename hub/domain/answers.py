"""Answers: answer, accept. The asker hears at once; points are given once."""

from datetime import datetime
from functools import partial
from uuid import uuid4

from hub.domain import members, urgent
from hub.domain.context import Domain, Known, Once, do_once
from hub.domain.inbox import News, notify
from hub.domain.questions import excerpt, locked, outgoing
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from hub.plumbing.telemetry.metrics import ANSWERS_WITHIN_TARGET
from protocol.domain_events import AnswerAcceptedEvent, AnswerCreatedEvent, PointsCredited
from protocol.errors import conflict, forbidden, not_found
from protocol.events import AnswerAccepted, AnswerCreated, Author, PointsAwarded, emit
from protocol.names import question_room, user_room
from protocol.rest import Answer, Answers

ANSWER_TARGET_S = 600
"""Within this an urgent question should have its first answer (S2-007)."""


async def answer(
    d: Domain, answerer: str, question_id: str, content: str, once: Once | None = None
) -> Answer:
    """Write an answer and tell the asker.

    Raises NOT_FOUND, CONFLICT for a closed question.
    """
    id = str(uuid4())
    return await do_once(d, once, Answer, partial(_answer, d, answerer, question_id, content, id))


async def _answer(
    d: Domain, answerer: str, question_id: str, content: str, id: str, change: Change
) -> Answer:
    written = await add_answer(d, change, id, answerer, question_id, content)
    question = await change.conn.fetchrow(
        "SELECT user_id FROM questions WHERE id = $1", question_id
    )
    assert question is not None
    event = AnswerCreatedEvent(
        answer_id=id,
        question_id=question_id,
        answerer_id=answerer,
        questioner_id=question["user_id"],
        excerpt=excerpt(content),
        created_at=written.created_at,
    )
    change.tell(question_id, outgoing(d, "answer.created", event))
    return written


async def add_answer(
    d: Domain,
    change: Change,
    id: str,
    answerer: str,
    question_id: str,
    content: str,
    at: datetime | None = None,
) -> Answer:
    """Write an answer that was given `at` a time, now by default, and tell whom it concerns.

    Raises NOT_FOUND, CONFLICT for a question that was closed then, Known for an answer that is
    here.
    """
    conn, now = change.conn, at or d.now()
    await _check_new(conn, id, answerer, question_id)
    question = await locked(conn, question_id, now)
    if question["status"] != "active" and not (question["closed_at"] or now) > now:
        raise conflict("The question is closed.")
    await members.ensure(conn, answerer)
    who = await members.author(conn, answerer)
    written = await conn.fetchval(
        "INSERT INTO answers (id, question_id, user_id, content, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (id) DO NOTHING RETURNING id",
        id,
        question_id,
        answerer,
        content,
        now,
    )
    if written is None:  # told by two events at once
        await _check_new(conn, id, answerer, question_id)
    own = answerer == question["user_id"]  # an answer by the asker stops no clock
    await conn.execute(
        "UPDATE questions SET answer_count = answer_count + 1,"
        " updated_at = greatest(updated_at, $2), first_answer_at = CASE WHEN $3"
        " THEN first_answer_at ELSE least(first_answer_at, $2) END WHERE id = $1",
        question_id,
        now,
        own,
    )
    if not own:
        elapsed = max(0.0, (now - question["created_at"]).total_seconds())
        await _tell_asker(d, change, question, id, who, content, now, elapsed)
        if question["urgency"] == "urgent":
            await _stop_clock(d, change, question, now, elapsed)
    return Answer(
        id=id,
        question_id=question_id,
        author=who,
        content=content,
        is_accepted=False,
        created_at=now,
    )


async def _check_new(conn: Connection, id: str, answerer: str, question_id: str) -> None:
    """Raises Known for an answer that is here, CONFLICT when its id is another one's."""
    row = await conn.fetchrow("SELECT question_id, user_id FROM answers WHERE id = $1", id)
    if row is None:
        return
    if (row["question_id"], row["user_id"]) != (question_id, answerer):
        raise conflict("Another answer has this id.")
    raise Known("This answer is here already.")


async def _stop_clock(
    d: Domain, change: Change, question: Row, at: datetime, elapsed_s: float
) -> None:
    """What an answer means for its urgent question, which may have an earlier or a later one."""
    known = question["first_answer_at"]
    late = known is None or (known - question["created_at"]).total_seconds() > ANSWER_TARGET_S
    if late and elapsed_s <= ANSWER_TARGET_S:
        ANSWERS_WITHIN_TARGET.inc()
    if known is None and question["status"] == "active":
        await urgent.answered(d, change, question, at)


async def _tell_asker(
    d: Domain,
    change: Change,
    question: Row,
    answer_id: str,
    who: Author,
    content: str,
    now: datetime,
    elapsed_s: float,
) -> None:
    asker = question["user_id"]
    locale = await members.locale_of(change.conn, asker)
    news = News.of_ours(
        asker,
        "answer_created",
        locale,
        {"nickname": who.nickname, "excerpt": excerpt(content)},
        priority="high",
        question_id=question["id"],
        answer_id=answer_id,
        dedup_key=f"answer:{answer_id}",
    )
    told = await notify(d, change, [news], await d.presence.online([asker]))
    message = AnswerCreated(
        notification_id=str(told[0].id) if told else None,
        answer_id=answer_id,
        question_id=question["id"],
        excerpt=excerpt(content),
        answerer=who,
        created_at=now,
        elapsed_s=round(elapsed_s, 3),
    )
    rooms = (user_room(asker), question_room(question["id"]))
    change.tell(question["id"], emit("answer:created", message, id=str(uuid4()), rooms=rooms))


async def answers(d: Domain, question_id: str, after: str | None, limit: int) -> Answers:
    """Newest first, by keyset; `after` is the `next` of the page before."""
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT a.*, u.nickname, u.is_local_verified FROM answers a JOIN users u"
            " ON u.id = a.user_id WHERE question_id = $1 AND a.deleted_at IS NULL AND ($2::text"
            " IS NULL OR (a.created_at, a.id) < (SELECT created_at, id FROM answers WHERE id = $2))"
            " ORDER BY a.created_at DESC, a.id DESC LIMIT $3",
            question_id,
            after,
            limit,
        )
    items = tuple(_answer_view(row) for row in rows)
    return Answers(items=items, next=items[-1].id if len(items) == limit else None)


def _answer_view(row: Row, points: int | None = None) -> Answer:
    who = Author(
        user_id=row["user_id"],
        nickname=row["nickname"],
        is_local_verified=row["is_local_verified"],
    )
    return Answer(
        id=row["id"],
        question_id=row["question_id"],
        author=who,
        content=row["content"],
        is_accepted=row["is_accepted"],
        created_at=row["created_at"],
        accepted_at=row["accepted_at"],
        points=points,
    )


async def accept(d: Domain, asker: str, answer_id: str) -> Answer:
    """The asker takes one answer; of two accepts at once one wins (S2-031).

    Raises NOT_FOUND, FORBIDDEN for a stranger, CONFLICT when one is accepted already, or when it
    is the asker's own answer.
    """
    async with d.outbox.change() as change:
        accepted = await accept_in(d, change, answer_id, asker, d.policy.points_per_accept)
        event = AnswerAcceptedEvent(
            answer_id=answer_id,
            question_id=accepted.question_id,
            answerer_id=accepted.author.user_id,
            questioner_id=asker,
            points=accepted.points,
        )
        change.tell(accepted.question_id, outgoing(d, "answer.accepted", event))
        return accepted


async def accept_in(
    d: Domain,
    change: Change,
    answer_id: str,
    asker: str,
    points: int,
    at: datetime | None = None,
) -> Answer:
    """`accept` in a change of the caller's, of what was accepted `at` a time, now by default."""
    conn, now = change.conn, at or d.now()
    found = await conn.fetchval(
        "SELECT question_id FROM answers WHERE id = $1 AND deleted_at IS NULL", answer_id
    )
    if found is None:
        raise not_found("answer")
    question = await locked(conn, found, at)
    if question["user_id"] != asker:
        raise forbidden("Only the asker accepts an answer.")
    if question["accepted_answer_id"] == answer_id:
        raise Known("This answer is accepted already.")
    if question["accepted_answer_id"] is not None:
        raise conflict("An answer is accepted already.")
    row = await conn.fetchrow(
        "UPDATE answers a SET is_accepted = true, accepted_at = $2, updated_at = $2 FROM users u"
        " WHERE a.id = $1 AND u.id = a.user_id RETURNING a.*, u.nickname, u.is_local_verified",
        answer_id,
        now,
    )
    assert row is not None
    if row["user_id"] == asker:
        raise conflict("One's own answer cannot be accepted.")
    await conn.execute(
        "UPDATE questions SET accepted_answer_id = $2, updated_at = greatest(updated_at, $3)"
        " WHERE id = $1",
        found,
        answer_id,
        now,
    )
    await _reward(d, change, question, row, points)
    return _answer_view(row, points)


async def _reward(d: Domain, change: Change, question: Row, row: Row, points: int) -> None:
    """Points once for an answer (unique), the alert, and the event for the user service."""
    answerer, question_id, answer_id = row["user_id"], question["id"], row["id"]
    event_id = uuid4()
    await change.conn.execute(
        "INSERT INTO point_transactions (user_id, amount, reason, answer_id, question_id, event_id)"
        " VALUES ($1, $2, 'answer_accepted', $3, $4, $5)",
        answerer,
        points,
        answer_id,
        question_id,
        event_id,
    )
    balance = await change.conn.fetchval(
        "SELECT sum(amount)::bigint FROM point_transactions WHERE user_id = $1", answerer
    )
    locale = await members.locale_of(change.conn, answerer)
    news = News.of_ours(
        answerer,
        "answer_accepted",
        locale,
        {"points": points, "title": question["title"]},
        question_id=question_id,
        answer_id=answer_id,
        dedup_key=f"accepted:{answer_id}",
    )
    told = await notify(d, change, [news], await d.presence.online([answerer]))
    accepted = AnswerAccepted(
        notification_id=str(told[0].id) if told else None,
        answer_id=answer_id,
        question_id=question_id,
        answerer_id=answerer,
        questioner_id=question["user_id"],
        points=points,
    )
    awarded = PointsAwarded(
        user_id=answerer,
        points=points,
        balance=balance,
        reason="answer_accepted",
        answer_id=answer_id,
        question_id=question_id,
    )
    mine = user_room(answerer)
    rooms = (mine, question_room(question_id))
    change.tell(
        question_id,
        emit("answer:accepted", accepted, id=str(uuid4()), rooms=rooms),
        emit("points:awarded", awarded, id=str(event_id), rooms=(mine,)),
        outgoing(
            d,
            "points.credited",
            PointsCredited(
                user_id=answerer, amount=points, balance=balance, source_event_id=str(event_id)
            ),
        ),
    )
