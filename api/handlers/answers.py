"""Answers to questions."""

from api.route import Call
from hub.domain.questions import answering, asking
from protocol.rest.answers import Answer, AnswerRequest, Answers
from protocol.rest.paging import PageQuery


async def listed(call: Call[None, PageQuery]) -> Answers:
    """Its answers, newest first."""
    question_id, query = call.path["id"], call.query
    await asking.find(call.domain, question_id, signed_in=False)
    return await answering.answers(call.domain, question_id, query.after, query.limit)


async def give(call: Call[AnswerRequest, None]) -> Answer:
    """Answer a question."""
    body = call.body
    return await answering.answer(
        call.domain, call.person.user_id, body.question_id, body.content, call.once
    )


async def accept(call: Call[None, None]) -> Answer:
    """Accept an answer of your question; of two at once one wins."""
    return await answering.accept(call.domain, call.person.user_id, call.path["id"])
