"""Questions: asked, listed, closed."""

from api.route import Call
from hub.domain.questions import asking, closing, listing, question
from hub.domain.rules.states import QuestionStatus
from hub.plumbing.stores.outbox import Change
from protocol.rest.questions import Ask, Question, QuestionChange, Questions, QuestionsQuery


async def listed(call: Call[None, QuestionsQuery]) -> Questions:
    """Open questions, 20 a page."""
    return await listing.page(call.domain, call.query)


async def one(call: Call[None, None]) -> Question:
    """One question; its place for signed-in people while it is open."""
    return await question.find(call.domain, call.path["id"], signed_in=call.caller is not None)


async def ask(call: Call[Ask, None]) -> Question:
    """Ask; an urgent question needs a place and wakes the people near it."""
    d, asker = call.domain, call.person.user_id
    return await call.change(Question, lambda change: asking.ask(d, change, asker, call.body))


async def change(call: Call[QuestionChange, None]) -> Question:
    """Close a question."""
    return await _end(call, QuestionStatus(call.body.status))


async def delete(call: Call[None, None]) -> None:
    """Delete a question."""
    await _end(call, QuestionStatus.DELETED)


async def _end(
    call: Call[QuestionChange, None] | Call[None, None], status: QuestionStatus
) -> Question:
    """By its asker, or by an admin."""
    d, id, owner = call.domain, call.path["id"], None if call.is_admin else call.person.user_id

    async def end(change: Change) -> Question:
        ended = await closing.close(d, change, id, status, owner=owner)
        return await question.shown(change.conn, ended)

    return await call.change(Question, end)
