"""Changing the words of a question, here or as another service tells it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from hub.domain.context import Domain
from hub.domain.questions.question import Question, locked, rooms_of
from hub.plumbing.stores.outbox import Change
from protocol.errors import conflict, forbidden
from protocol.events import emit
from protocol.events.questions import QuestionStatus
from protocol.names import QUESTION_LISTS, cached_question


@dataclass(frozen=True, slots=True)
class Words:
    """What is said anew; None stays as it is."""

    title: str | None = None
    content: str | None = None
    category: str | None = None
    hashtags: tuple[str, ...] | None = None

    @property
    def named(self) -> bool:
        return self != Words()


async def edit(
    d: Domain,
    change: Change,
    question_id: str,
    words: Words,
    *,
    owner: str | None = None,
    at: datetime | None = None,
) -> Question:
    """Change what is named. `owner`: who must have asked it. `at`: when it happened, as another
    service tells it; what is older than the last change leaves everything as it is.

    Raises NOT_FOUND, FORBIDDEN for somebody else's, CONFLICT for one that is closed.
    """
    question = await locked(change.conn, question_id)
    if owner is not None and question.user_id != owner:
        raise forbidden("Only its asker may do this.")
    if not question.active and at is None:
        raise conflict("The question is closed already.")
    at = at or d.now()
    if not words.named or (question.edited_at is not None and question.edited_at > at):
        return question
    row = await change.conn.fetchrow(
        "UPDATE questions SET title = coalesce($2, title), content = coalesce($3, content),"
        " category = coalesce($4, category), hashtags = coalesce($5, hashtags), edited_at = $6,"
        " updated_at = greatest(updated_at, $6) WHERE id = $1 RETURNING *",
        question_id,
        words.title,
        words.content,
        words.category,
        None if words.hashtags is None else list(words.hashtags),
        at,
    )
    assert row is not None
    change.invalidate(cached_question(question_id), QUESTION_LISTS)
    changed = Question.of(row)
    message = QuestionStatus(question_id=question_id, status=changed.status)
    event = emit("question:updated", message, id=str(uuid4()), rooms=rooms_of(changed))
    change.tell(question_id, event)
    return changed
