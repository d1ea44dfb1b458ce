"""Answers to questions."""

from api.route import Call
from hub.domain.questions import accepting, answering, question
from protocol.rest.answers import Answer, AnswerChange, AnswerRequest, Answers
from protocol.rest.paging import PageQuery


async def listed(call: Call[None, PageQuery]) -> Answers:
    """Its answers, newest first."""
    question_id, query = call.path["id"], call.query
    await question.find(call.domain, question_id, signed_in=False)
    return await answering.answers(
        call.domain, question_id, query.after, query.limit, may_lag=await call.may_lag()
    )


async def give(call: Call[AnswerRequest, None]) -> Answer:
    """Answer a question."""
    d, who, body = call.domain, call.person.user_id, call.body
    return await call.change(
        Answer,
        lambda change: answering.answer(d, change, who, body.question_id, body.content),
    )


async def rewrite(call: Call[AnswerChange, None]) -> Answer:
    """Change the words of an answer."""
    d, id, writer = call.domain, call.path["id"], None if call.is_admin else call.person.user_id
    return await call.change(
        Answer,
        lambda change: answering.rewrite(d, change, id, call.body.content, writer=writer),
    )


async def take_back(call: Call[None, None]) -> None:
    """Delete an answer; of an urgent question's only one, in time, the waves go on."""
    d, id, writer = call.domain, call.path["id"], None if call.is_admin else call.person.user_id
    async with d.outbox.change() as change:
        await answering.take_back(d, change, id, writer=writer)


async def accept(call: Call[None, None]) -> Answer:
    """Accept an answer of your question; of two at once one wins."""
    d, asker, id = call.domain, call.person.user_id, call.path["id"]
    return await call.change(Answer, lambda change: accepting.accept(d, change, asker, id))
