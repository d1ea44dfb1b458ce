"""Questions: asked, listed, closed."""

from api.route import Call
from hub.domain.questions import asking, listing
from protocol.rest.questions import Ask, Question, QuestionChange, Questions, QuestionsQuery


async def listed(call: Call[None, QuestionsQuery]) -> Questions:
    """Open questions, 20 a page."""
    return await listing.page(call.domain, call.query)


async def one(call: Call[None, None]) -> Question:
    """One question; its place for signed-in people while it is open."""
    return await asking.find(call.domain, call.path["id"], signed_in=call.caller is not None)


async def ask(call: Call[Ask, None]) -> Question:
    """Ask; an urgent question needs a place and wakes the people near it."""
    return await asking.ask(call.domain, call.person.user_id, call.body, call.once)


async def change(call: Call[QuestionChange, None]) -> Question:
    """Close a question."""
    return await _end(call, call.body.status)


async def delete(call: Call[None, None]) -> None:
    """Delete a question."""
    await _end(call, "deleted")


async def _end(call: Call[QuestionChange, None] | Call[None, None], status: str) -> Question:
    by = call.person.user_id
    return await asking.close_own(call.domain, by, call.path["id"], status, admin=call.is_admin)
