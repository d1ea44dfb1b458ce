"""Questions: asked, listed, closed."""

from api.route import Call
from hub.domain.questions import asking, closing, editing, likes, listing, question
from hub.domain.rules.states import QuestionStatus
from hub.plumbing.stores.outbox import Change
from protocol.errors import invalid
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
    """Change the words of a question, or close it."""
    d, id, owner, form = call.domain, call.path["id"], _owner(call), call.body
    words = editing.Words(form.title, form.content, form.category, form.hashtags)
    if not words.named and form.status is None:
        raise invalid("Nothing is to be changed.")

    async def change_it(change: Change) -> Question:
        if words.named:
            changed = await editing.edit(d, change, id, words, owner=owner)
        if form.status is not None:
            changed = await closing.close(d, change, id, QuestionStatus(form.status), owner=owner)
        return await question.shown(change.conn, changed)

    return await call.change(Question, change_it)


async def delete(call: Call[None, None]) -> None:
    """Delete a question."""
    async with call.domain.outbox.change() as change:
        await closing.close(
            call.domain, change, call.path["id"], QuestionStatus.DELETED, owner=_owner(call)
        )


def _owner(call: Call[QuestionChange, None] | Call[None, None]) -> str | None:
    """Who must have asked it; an admin may change anybody's."""
    return None if call.is_admin else call.person.user_id


async def like(call: Call[None, None]) -> None:
    """Like a question; a second time changes nothing."""
    async with call.domain.outbox.change() as change:
        await likes.like(call.domain, change, call.person.user_id, call.path["id"])


async def unlike(call: Call[None, None]) -> None:
    """Take a like back."""
    async with call.domain.outbox.change() as change:
        await likes.unlike(change, call.person.user_id, call.path["id"])
