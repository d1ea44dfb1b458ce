"""Explain: why this person was told of a question or an event, or was not, in order.

Decisions were kept when they were made (`notifications.decisions`); of somebody about whom none was
kept the waves' rows tell.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from hub.domain.context import Domain
from hub.domain.notifications.notification import Notification
from hub.domain.places import geometry
from hub.domain.questions.question import Question
from hub.domain.rules.explaining import (
    Begun,
    Decided,
    Missing,
    Whereabouts,
    Word,
    of_nobody_listed,
    of_one_notified,
)
from hub.domain.rules.kinds import Channel
from hub.domain.rules.ladder import Delivery
from hub.domain.rules.reasons import Cause, Reason, Verdict
from hub.domain.rules.states import DeliveryStatus, QuestionStatus
from hub.plumbing.stores.postgres import Connection, Row, acquire, from_json
from protocol.errors import invalid, not_found
from protocol.rest.explain import Decision, Explanation, Try

MOST: Final = 200
"""Rows of one person about one thing; more is a fault that no list would make clearer."""

DECISIONS: Final = (
    "SELECT * FROM decisions WHERE user_id = $1 AND question_id = $2"
    " AND (notification_id IS NULL OR notification_id = $3) ORDER BY created_at LIMIT $4"
)
"""SQL: about a question's alert, and not about an answer to it."""

OF_NOTIFICATION: Final = (
    "SELECT * FROM decisions WHERE notification_id = $1 ORDER BY created_at LIMIT $2"
)
TRIES: Final = "SELECT * FROM deliveries WHERE notification_id = $1 LIMIT $2"

_ORDER: Final = [None, *Channel]


async def explain(
    d: Domain, user_id: str, *, question_id: str | None = None, event_id: UUID | None = None
) -> Explanation:
    """Either of an urgent question's alert, or of what another service's event told.

    Raises INVALID_PAYLOAD unless one of both is given, NOT_FOUND for a person, a question or an
    event that is not known, for a question that is not urgent (nobody is told of it by name), and
    for an event that told this person nothing.
    """
    if (question_id is None) == (event_id is None):
        raise invalid("Either questionId or eventId is needed.")
    async with acquire(d.pool) as conn, conn.transaction(isolation="repeatable_read"):
        if question_id is None:
            assert event_id is not None
            question_id = await _question_of(conn, event_id)
            if question_id is None:
                return await _of_event(conn, user_id, event_id)
        return await _of_question(d, conn, user_id, question_id)


async def _question_of(conn: Connection, event_id: UUID) -> str | None:
    """The question that an event has asked; None when it told of something else."""
    row = await conn.fetchrow(
        "SELECT event_type, payload ->> 'questionId' AS question_id FROM inbox_events"
        " WHERE event_id = $1",
        event_id,
    )
    if row is None:
        raise not_found("event")
    is_question = row["event_type"] == "question.created"
    return row["question_id"] if is_question else None


async def _of_event(conn: Connection, user_id: str, event_id: UUID) -> Explanation:
    row = await conn.fetchrow(
        "SELECT * FROM notifications WHERE event_id = $1 AND user_id = $2 LIMIT 1",
        event_id,
        user_id,
    )
    if row is None:
        raise not_found("notification of this event for this person")
    one = Notification.of(row)
    decisions = await conn.fetch(OF_NOTIFICATION, one.id, MOST)
    return await _of_notified(conn, one, decisions)


async def _of_question(d: Domain, conn: Connection, user_id: str, question_id: str) -> Explanation:
    row = await conn.fetchrow("SELECT * FROM questions WHERE id = $1", question_id)
    if row is None or row["urgent_state"] is None:
        raise not_found("urgent question")
    person = await conn.fetchrow("SELECT deleted_at FROM users WHERE id = $1", user_id)
    if person is None:
        raise not_found("person")
    told = await conn.fetchrow(
        "SELECT notification_id, acknowledged_at FROM question_recipients"
        " WHERE question_id = $1 AND user_id = $2",
        question_id,
        user_id,
    )
    acknowledged_at = told["acknowledged_at"] if told else None
    id = told["notification_id"] if told else None
    decisions = await conn.fetch(DECISIONS, user_id, question_id, id, MOST)
    found = None
    if id is not None:
        found = await conn.fetchrow("SELECT * FROM notifications WHERE id = $1", id)
    if found is not None:
        one = Notification.of(found)
        return await _of_notified(conn, one, decisions)
    if decisions:
        last = decisions[-1]
        word: Word = (Verdict(last["verdict"]), _reason(last["reason"]))
    else:
        erased = person["deleted_at"] is not None
        word = of_nobody_listed(await _missing(d, conn, user_id, Question.of(row), erased))
    return Explanation(
        user_id=user_id,
        question_id=question_id,
        verdict=word[0],
        reason=word[1],
        acknowledged_at=acknowledged_at,
        decisions=tuple(_decision(one) for one in decisions),
        tries=(),
    )


async def _of_notified(
    conn: Connection, one: Notification, decisions: Sequence[Row]
) -> Explanation:
    rows = sorted(
        await conn.fetch(TRIES, one.id, MOST), key=lambda row: (_rank(row), row["updated_at"])
    )
    decisions = sorted(decisions, key=lambda row: (row["created_at"], _rank(row)))
    verdict, reason = of_one_notified(
        one.kind,
        [
            Decided(_channel(row), Verdict(row["verdict"]), _reason(row["reason"]))
            for row in decisions
        ],
        [Delivery(Channel(row["channel"]), DeliveryStatus(row["status"])) for row in rows],
    )
    return Explanation(
        user_id=one.user_id,
        question_id=one.question_id,
        verdict=verdict,
        reason=reason,
        acknowledged_at=one.acknowledged_at,
        decisions=tuple(_decision(row) for row in decisions),
        tries=tuple(_try(row) for row in rows),
    )


async def _missing(
    d: Domain, conn: Connection, user_id: str, question: Question, erased: bool
) -> Missing:
    waves = await conn.fetch(
        "SELECT radius_m, started_at, recipients FROM urgent_waves WHERE question_id = $1"
        " AND started_at IS NOT NULL",
        question.id,
    )
    there = await conn.fetchrow("SELECT * FROM user_locations WHERE user_id = $1", user_id)
    return Missing(
        is_asker=user_id == question.user_id,
        erased=erased,
        waves=[Begun(row["radius_m"], row["started_at"]) for row in waves],
        whereabouts=None if there is None else _whereabouts(question, there),
        over=_over(d, question),
        ranked=any(row["recipients"] for row in waves),
    )


def _whereabouts(question: Question, row: Row) -> Whereabouts:
    """From the place while it is known, then from the middle of its cell."""
    distance_m = None
    if row["cell"] is not None and question.cell is not None:
        lat, lng = question.lat, question.lng
        if lat is None or lng is None:
            lat, lng = geometry.middle_of(question.cell)
        distance_m = geometry.distance_to_cell_m(lat, lng, row["cell"])
    in_region = row["region_code"] == question.region_code
    return Whereabouts(distance_m, in_region, row["updated_at"], row["expires_at"])


def _over(d: Domain, question: Question) -> Reason | None:
    if question.first_answer_at is not None:
        return Reason.ANSWERED
    if question.status is not QuestionStatus.ACTIVE:
        return Reason.CLOSED
    return Reason.EXPIRED if question.late(d.now()) else None


def _decision(row: Row) -> Decision:
    id = row["notification_id"]
    return Decision(
        at=row["created_at"],
        verdict=row["verdict"],
        reason=row["reason"],
        channel=row["channel"],
        notification_id=None if id is None else str(id),
        detail=from_json(row["detail"]),
    )


def _try(row: Row) -> Try:
    device_id = row["device_id"]
    return Try(
        channel=row["channel"],
        status=row["status"],
        reason=row["reason"],
        attempts=row["attempts"],
        device_id=None if device_id is None else str(device_id),
        error_code=row["error_code"],
        provider_message_id=row["provider_message_id"],
        updated_at=row["updated_at"],
        taken_back_at=row["retracted_at"],
    )


def _channel(row: Row) -> Channel | None:
    return None if row["channel"] is None else Channel(row["channel"])


def _rank(row: Row) -> int:
    """Of two in one moment: the wave first, then in the order of channels."""
    return _ORDER.index(_channel(row))


def _reason(word: str) -> Reason | Cause:
    return Reason(word) if word in set(Reason) else Cause(word)
