"""Accepting: the asker takes one answer, and its writer is rewarded once."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from hub.domain import homes
from hub.domain.context import Domain, Known, outgoing
from hub.domain.notifications import decisions
from hub.domain.notifications.writing import News, notify
from hub.domain.people import blocks, members
from hub.domain.questions.answering import Answer
from hub.domain.questions.question import Question, locked
from hub.domain.rules.kinds import ANSWER_ACCEPTED
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.domain_events import AnswerAcceptedEvent, PointsCredited
from protocol.errors import conflict, forbidden, not_found
from protocol.events import emit
from protocol.events.questions import AnswerAccepted, PointsAwarded
from protocol.names import cached_question, question_room, user_room
from protocol.rest import answers as rest

REASON = "answer_accepted"
"""Why points were given."""


@dataclass(frozen=True, slots=True)
class Reward:
    """Points given once for an answer; `balance` is what its writer has now."""

    event_id: UUID
    points: int
    balance: int


async def accept(
    d: Domain,
    change: Change,
    asker: str,
    answer_id: str,
    *,
    points: int | None = None,
    at: datetime | None = None,
) -> rest.Answer:
    """The asker takes one answer; of two accepts at once one wins (S2-031). `points`, `at`: as
    another service tells it; then no service is told of the acceptance again.

    Raises NOT_FOUND, FORBIDDEN for a stranger, CONFLICT when one is accepted already, or when it
    is the asker's own answer, Known when it is this one.
    """
    conn, now = change.conn, at or d.now()
    found = await conn.fetchval(
        "SELECT question_id FROM answers WHERE id = $1 AND deleted_at IS NULL", answer_id
    )
    if found is None:
        raise not_found("answer")
    question = await locked(conn, found, at)
    if question.user_id != asker:
        raise forbidden("Only the asker accepts an answer.")
    if question.accepted_answer_id == answer_id:
        raise Known("This answer is accepted already.")
    if question.accepted_answer_id is not None:
        raise conflict("An answer is accepted already.")
    accepted = await _mark(conn, question, answer_id, now)
    if accepted.author.user_id == asker:
        raise conflict("One's own answer cannot be accepted.")
    change.invalidate(cached_question(question.id))
    points = d.policy.points_per_accept if points is None else points
    reward = await _reward(conn, accepted, points)
    await _tell_answerer(d, change, question, accepted, reward)
    _tell_services(d, change, question, accepted, reward, told=at is not None)
    return accepted.shown(points)


async def _mark(conn: Connection, question: Question, answer_id: str, now: datetime) -> Answer:
    row = await conn.fetchrow(
        "UPDATE answers a SET is_accepted = true, accepted_at = $2, updated_at = $2 FROM users u"
        " WHERE a.id = $1 AND u.id = a.user_id RETURNING a.*, u.nickname, u.is_local_verified",
        answer_id,
        now,
    )
    assert row is not None
    await conn.execute(
        "UPDATE questions SET accepted_answer_id = $2, updated_at = greatest(updated_at, $3)"
        " WHERE id = $1",
        question.id,
        answer_id,
        now,
    )
    return Answer.of(row)


async def _reward(conn: Connection, accepted: Answer, points: int) -> Reward:
    """The row is unique for an answer and a reason."""
    event_id = uuid4()
    await conn.execute(
        "INSERT INTO point_transactions (user_id, amount, reason, answer_id, question_id, event_id)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        accepted.author.user_id,
        points,
        REASON,
        accepted.id,
        accepted.question_id,
        event_id,
    )
    balance = await conn.fetchval(
        "SELECT sum(amount)::bigint FROM point_transactions WHERE user_id = $1",
        accepted.author.user_id,
    )
    return Reward(event_id, points, balance)


async def _tell_answerer(
    d: Domain, change: Change, question: Question, accepted: Answer, reward: Reward
) -> None:
    answerer = accepted.author.user_id
    news = News.of_ours(
        answerer,
        ANSWER_ACCEPTED,
        await members.locale_of(change.conn, answerer),
        {"points": reward.points, "title": question.title},
        question_id=question.id,
        answer_id=accepted.id,
        dedup_key=f"accepted:{accepted.id}",
        by=question.user_id,
    )
    apart = await blocks.between(change.conn, answerer, question.user_id)
    if apart:
        await decisions.blocked(change.conn, d.now(), answerer, accepted.id)
        written = []
    else:
        written = await notify(d, change, [news])
    taken = AnswerAccepted(
        notification_id=str(written[0].id) if written else None,
        answer_id=accepted.id,
        question_id=question.id,
        answerer_id=answerer,
        questioner_id=question.user_id,
        points=reward.points,
    )
    awarded = PointsAwarded(
        user_id=answerer,
        points=reward.points,
        balance=reward.balance,
        reason=REASON,
        answer_id=accepted.id,
        question_id=question.id,
    )
    mine = user_room(answerer)
    rooms = (mine, question_room(question.id))
    deaf = await blocks.deaf_to(change.conn, question.user_id)
    taking = emit("answer:accepted", taken, id=str(uuid4()), rooms=rooms, except_rooms=deaf)
    awarding = emit("points:awarded", awarded, id=str(reward.event_id), rooms=(mine,))
    change.tell(question.id, taking, awarding)
    if not apart:
        await homes.tell(d, change, taking, [answerer], by=question.user_id)
    await homes.tell(d, change, awarding, [answerer])


def _tell_services(
    d: Domain, change: Change, question: Question, accepted: Answer, reward: Reward, *, told: bool
) -> None:
    """The points are ours to tell, whoever was `told` the acceptance by whom."""
    answerer = accepted.author.user_id
    credited = PointsCredited(
        user_id=answerer,
        amount=reward.points,
        balance=reward.balance,
        source_event_id=str(reward.event_id),
    )
    change.tell(question.id, outgoing(d, "points.credited", credited))
    if told:
        return
    event = AnswerAcceptedEvent(
        answer_id=accepted.id,
        question_id=question.id,
        answerer_id=answerer,
        questioner_id=question.user_id,
        points=reward.points,
    )
    change.tell(question.id, outgoing(d, "answer.accepted", event))
