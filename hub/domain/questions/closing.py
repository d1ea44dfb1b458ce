"""Closing a question, and deleting one."""

from datetime import datetime
from uuid import uuid4

from hub.domain.context import Domain, Known
from hub.domain.questions import urgent
from hub.domain.questions.question import Question, locked, rooms_of
from hub.domain.rules.states import AWAITING, QuestionStatus, UrgentState
from hub.plumbing.stores.outbox import Change
from protocol.errors import conflict, forbidden
from protocol.events import emit
from protocol.events.questions import QuestionStatus as StatusMessage
from protocol.names import QUESTION_LISTS, cached_question


async def close(
    d: Domain,
    change: Change,
    question_id: str,
    status: QuestionStatus,
    *,
    owner: str | None = None,
    at: datetime | None = None,
) -> Question:
    """Close or delete: waves end, the place is forgotten, those woken are told. `owner`: who must
    have asked it. `at`: when it happened, as another service tells it; what was answered or
    accepted before then and arrives later is still taken.

    Raises NOT_FOUND, FORBIDDEN for somebody else's, CONFLICT when it is closed already; of what
    another service tells, Known instead of both for what is here already.
    """
    if at is not None:
        await _check_news(change, question_id, status)
    question = await locked(change.conn, question_id)
    if owner is not None and question.user_id != owner:
        raise forbidden("Only its asker may do this.")
    if not question.active and status is QuestionStatus.CLOSED:
        raise conflict("The question is closed already.")
    question = await urgent.overtaken(d, change, question, at or d.now())
    if question.urgent_state not in (None, UrgentState.CLOSED):
        await urgent.move(change, question, UrgentState.CLOSED)
    row = await change.conn.fetchrow(
        "UPDATE questions SET status = $2, lat = NULL, lng = NULL, updated_at = $3,"
        " closed_at = least(closed_at, $4) WHERE id = $1 RETURNING *",
        question_id,
        status,
        d.now(),
        at or d.now(),
    )
    assert row is not None
    change.invalidate(cached_question(question_id), QUESTION_LISTS)
    _tell(change, question, status)
    if question.urgent_state in AWAITING:
        await urgent.end(d, change, question, "closed")
    return Question.of(row)


async def _check_news(change: Change, question_id: str, status: QuestionStatus) -> None:
    """Raises Known for one that is closed already, or gone for good."""
    known = await change.conn.fetchval("SELECT status FROM questions WHERE id = $1", question_id)
    if known in (status, QuestionStatus.DELETED):
        raise Known(f"The question is {known} already.")


def _tell(change: Change, question: Question, status: QuestionStatus) -> None:
    message = StatusMessage(question_id=question.id, status=status)
    event = emit("question:closed", message, id=str(uuid4()), rooms=rooms_of(question))
    change.tell(question.id, event)
