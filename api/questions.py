"""Questions and answers over REST."""

from api.route import Call
from hub.domain.questions import answering, asking, listing
from protocol.rest.answers import Answer, AnswerRequest, Answers
from protocol.rest.paging import PageQuery
from protocol.rest.questions import Ask, Question, QuestionChange, Questions, QuestionsQuery


async def ask(call: Call[Ask, None]) -> Question:
    return await asking.ask(call.domain, call.person.user_id, call.body, call.once)


async def listed(call: Call[None, QuestionsQuery]) -> Questions:
    return await listing.page(call.domain, call.query)


async def one(call: Call[None, None]) -> Question:
    return await asking.find(call.domain, call.path["id"], signed_in=call.caller is not None)


async def its_answers(call: Call[None, PageQuery]) -> Answers:
    question_id, query = call.path["id"], call.query
    await asking.find(call.domain, question_id, signed_in=False)
    return await answering.answers(call.domain, question_id, query.after, query.limit)


async def change(call: Call[QuestionChange, None]) -> Question:
    return await _end(call, call.body.status)


async def delete(call: Call[None, None]) -> None:
    await _end(call, "deleted")


async def _end(call: Call[QuestionChange, None] | Call[None, None], status: str) -> Question:
    by = call.person.user_id
    return await asking.close_own(call.domain, by, call.path["id"], status, admin=call.is_admin)


async def answer(call: Call[AnswerRequest, None]) -> Answer:
    body = call.body
    return await answering.answer(
        call.domain, call.person.user_id, body.question_id, body.content, call.once
    )


async def accept(call: Call[None, None]) -> Answer:
    return await answering.accept(call.domain, call.person.user_id, call.path["id"])
