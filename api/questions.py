"""Questions and answers over REST."""

from api.route import Call
from hub.domain.questions import accepting, answering, asking, closing, listing, question
from hub.domain.rules.states import QuestionStatus
from hub.plumbing.stores.outbox import Change
from protocol.rest import (
    Answer,
    AnswerRequest,
    Answers,
    Ask,
    PageQuery,
    Question,
    QuestionChange,
    Questions,
    QuestionsQuery,
)


async def ask(call: Call[Ask, None]) -> Question:
    d, asker = call.domain, call.person.user_id
    return await call.change(Question, lambda change: asking.ask(d, change, asker, call.body))


async def listed(call: Call[None, QuestionsQuery]) -> Questions:
    return await listing.page(call.domain, call.query)


async def one(call: Call[None, None]) -> Question:
    return await question.find(call.domain, call.path["id"], signed_in=call.caller is not None)


async def its_answers(call: Call[None, PageQuery]) -> Answers:
    question_id, query = call.path["id"], call.query
    await question.find(call.domain, question_id, signed_in=False)
    return await answering.answers(call.domain, question_id, query.after, query.limit)


async def change(call: Call[QuestionChange, None]) -> Question:
    return await _end(call, QuestionStatus(call.body.status))


async def delete(call: Call[None, None]) -> None:
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


async def answer(call: Call[AnswerRequest, None]) -> Answer:
    d, who, body = call.domain, call.person.user_id, call.body
    return await call.change(
        Answer,
        lambda change: answering.answer(d, change, who, body.question_id, body.content),
    )


async def accept(call: Call[None, None]) -> Answer:
    d, asker, id = call.domain, call.person.user_id, call.path["id"]
    return await call.change(Answer, lambda change: accepting.accept(d, change, asker, id))
