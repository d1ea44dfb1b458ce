"""The alert of an urgent question: from state to state, and how it is taken back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal
from uuid import NAMESPACE_URL, uuid4, uuid5

from hub.domain import homes
from hub.domain.context import Domain, outgoing
from hub.domain.questions.question import Question
from hub.domain.rules.states import AWAITING, UrgentState, follow
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from hub.plumbing.telemetry.metrics import URGENT_UNANSWERED
from protocol.between_regions import AlertOver
from protocol.domain_events import QuestionUnansweredEvent
from protocol.events import emit
from protocol.events.questions import QuestionAnswered, QuestionRetracted, QuestionUnanswered
from protocol.jobs import retract_job
from protocol.names import cached_question, question_room, region_room, user_room

End = Literal["answered", "closed", "expired"]
"""Why an alert is taken back, as the sockets are told."""


async def move(change: Change, question: Question, then: UrgentState) -> Question:
    """The one way from state to state, as the table says; whoever calls it holds the question's
    row (`questions.question.locked`), or has just written it. Returns the question as it is then.

    Raises IllegalMove for a state that may not follow, and for an ordinary question.
    """
    assert question.urgent_state is not None
    state = follow(question.urgent_state, then)
    await change.conn.execute(
        "UPDATE questions SET urgent_state = $2 WHERE id = $1", question.id, state
    )
    change.invalidate(cached_question(question.id))
    return replace(question, urgent_state=state)


async def overtaken(d: Domain, change: Change, question: Question, at: datetime) -> Question:
    """Whatever happened `at` a time after the deadline finds the question expired, even if that
    comes to us before the deadline's own alarm."""
    if question.urgent_state in AWAITING and question.late(at):
        return await expire(d, change, question)
    return question


async def answered(d: Domain, change: Change, question: Question, at: datetime) -> None:
    """The first answer ends the waves; whoever was woken is told within the second, unless the
    deadline has passed meanwhile.
    """
    question = await overtaken(d, change, question, at)
    await move(change, question, UrgentState.ANSWERED)
    if question.late(d.now()):
        await end(d, change, question, "answered")
        return
    message = QuestionAnswered(
        question_id=question.id, answer_count=question.answer_count + 1, first_answer_at=at
    )
    woken = await _woken(change.conn, question.id)
    rooms = (question_room(question.id), *map(user_room, woken))
    event = emit("question:answered", message, id=str(uuid4()), rooms=rooms)
    change.tell(question.id, event)
    await homes.tell(d, change, event, woken)
    await end(d, change, question, "answered", woken)


async def end(
    d: Domain,
    change: Change,
    question: Question,
    reason: End,
    woken: Sequence[str] | None = None,
) -> None:
    """Cancel the waves and take the alert back: sockets with the commit, what is pending or out on
    other channels by a job of its own.

    Nothing of an urgent question leaves after its deadline: then the alert is over by itself.
    """
    rows = await change.conn.fetch(
        "UPDATE urgent_waves SET cancelled_at = $2 WHERE question_id = $1 AND cancelled_at IS NULL"
        " RETURNING radius_m, started_at",
        question.id,
        d.now(),
    )
    change.enqueue(retract_job(question.id, reason))
    await _end_elsewhere(d, change, question.id, reason)
    if question.late(d.now()):
        return
    begun = [row["radius_m"] for row in rows if row["started_at"] is not None]
    if woken is None:
        woken = await _woken(change.conn, question.id)
    rooms = [user_room(user_id) for user_id in woken]
    rooms += question.rooms_within(max((radius_m or 0 for radius_m in begun), default=0))
    if None in begun:
        rooms.append(region_room(question.region_code))
    if not rooms:
        return
    event = emit(
        "question:retracted",
        QuestionRetracted(question_id=question.id, reason=reason),
        id=str(uuid4()),
        rooms=tuple(rooms),
        except_rooms=(user_room(question.user_id),),
    )
    change.tell(question.id, event)
    await homes.tell(d, change, event, woken)


async def _end_elsewhere(d: Domain, change: Change, question_id: str, reason: End) -> None:
    """What is pending for those whose inbox is in another region is ended there."""
    if not d.shards.urls:
        return
    rows = await change.conn.fetch(
        "SELECT user_id, notification_id FROM question_recipients WHERE question_id = $1"
        " AND notification_id IS NOT NULL",
        question_id,
    )
    ids = {row["user_id"]: row["notification_id"] for row in rows}
    elsewhere = await homes.of_people(d, change.conn, ids)
    for region, people in homes.by_region(elsewhere).items():
        over = AlertOver(reason=reason, notification_ids=tuple(ids[one] for one in people))
        await homes.send(d, change, region, over)


async def expire(d: Domain, change: Change, question: Question) -> Question:
    """The deadline has passed without an answer: the asker and other services are told."""
    deadline = question.deadline_at
    assert deadline is not None
    question = await move(change, question, UrgentState.EXPIRED)
    await end(d, change, question, "expired")
    notified = len(await _woken(change.conn, question.id))
    unanswered = QuestionUnanswered(
        question_id=question.id, deadline_at=deadline, notified=notified
    )
    event = QuestionUnansweredEvent(
        question_id=question.id, deadline_at=deadline, notified=notified
    )
    rooms = (user_room(question.user_id),)
    id = str(uuid5(NAMESPACE_URL, f"question:unanswered:{question.id}"))
    told = emit("question:unanswered", unanswered, id=id, rooms=rooms)
    change.tell(question.id, told, outgoing(d, "question.unanswered", event))
    await homes.tell(d, change, told, [question.user_id])
    URGENT_UNANSWERED.inc()
    return question


async def resume(d: Domain, change: Change, question: Question) -> Question:
    """Its only answer is gone again before the deadline: those waves that had not begun go on.
    Whoever was told before has been told."""
    await change.conn.execute(
        "UPDATE urgent_waves SET cancelled_at = NULL WHERE question_id = $1", question.id
    )
    return await move(change, question, UrgentState.WAVE)


async def _woken(conn: Connection, question_id: str) -> list[str]:
    """The people it was told to by name."""
    rows = await conn.fetch(
        "SELECT user_id FROM question_recipients WHERE question_id = $1 ORDER BY user_id",
        question_id,
    )
    return [row["user_id"] for row in rows]
