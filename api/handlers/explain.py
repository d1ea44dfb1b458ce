"""Why a person was told, or was not."""

from api.route import Call
from hub.domain import explain
from protocol.rest.explain import ExplainQuery, Explanation


async def one(call: Call[None, ExplainQuery]) -> Explanation:
    """Why this person was told of a question or an event, or was not."""
    query = call.query
    return await explain.explain(
        call.domain, query.user_id, question_id=query.question_id, event_id=query.event_id
    )
