"""The alert of an urgent question: from state to state, and how it is taken back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import uuid4

from hub.domain.context import Domain
from hub.domain.places import geometry
from hub.domain.questions.question import Question
from hub.domain.rules.states import UrgentState, follow
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.events import emit
from protocol.events.questions import QuestionAnswered, QuestionRetracted
from protocol.names import question_room, user_room

End = Literal["answered", "closed", "expired"]
"""Why an alert is taken back, as the sockets are told."""


async def move(conn: Connection, question: Question, then: UrgentState) -> None:
    """The one way from state to state, as the table says; whoever calls it holds the question's
    row (`questions.question.locked`), or has just written it.

    Raises IllegalMove for a state that may not follow, and for an ordinary question.
    """
    assert question.urgent_state is not None
    await conn.execute(
        "UPDATE questions SET urgent_state = $2 WHERE id = $1",
        question.id,
        follow(question.urgent_state, then),
    )


async def answered(d: Domain, change: Change, question: Question, at: datetime) -> None:
    """The first answer ends the waves; whoever was woken is told within the second, unless the
    deadline has passed meanwhile.
    """
    await move(change.conn, question, UrgentState.ANSWERED)
    if question.late(d.now()):
        await end(d, change, question, "answered")
        return
    message = QuestionAnswered(
        question_id=question.id, answer_count=question.answer_count + 1, first_answer_at=at
    )
    woken = await _woken(change.conn, question.id)
    rooms = (question_room(question.id), *woken)
    change.tell(question.id, emit("question:answered", message, id=str(uuid4()), rooms=rooms))
    await end(d, change, question, "answered", woken)


async def end(
    d: Domain,
    change: Change,
    question: Question,
    reason: End,
    woken: Sequence[str] | None = None,
) -> None:
    """Cancel the waves and take the alert back. Pending jobs end by themselves: `ladder.ended`.

    Nothing of an urgent question leaves after its deadline: then the alert is over by itself.
    """
    rows = await change.conn.fetch(
        "UPDATE urgent_waves SET cancelled_at = $2 WHERE question_id = $1 AND cancelled_at IS NULL"
        " RETURNING radius_m",
        question.id,
        d.now(),
    )
    if question.late(d.now()):
        return
    rooms = list(await _woken(change.conn, question.id) if woken is None else woken)
    widest_m = max((row["radius_m"] or 0 for row in rows), default=0)
    if widest_m:
        rooms += [geometry.room_of_cell(cell) for cell in question.cells(widest_m)]
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


async def _woken(conn: Connection, question_id: str) -> list[str]:
    """The rooms of the people it was told to by name."""
    rows = await conn.fetch(
        "SELECT user_id FROM question_recipients WHERE question_id = $1 ORDER BY user_id",
        question_id,
    )
    return [user_room(row["user_id"]) for row in rows]
