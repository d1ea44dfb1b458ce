"""Claiming: somebody says that they are answering an urgent question, or no longer."""

from datetime import timedelta

from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.questions import claims
from hub.domain.questions.claims import Claim
from hub.domain.questions.progress import advance, alarm
from hub.domain.questions.question import locked
from hub.plumbing.stores.outbox import Change
from protocol.errors import conflict, forbidden, not_found
from protocol.events import Move
from protocol.events.questions import ClaimState
from protocol.names import question_room, user_room


async def claim(d: Domain, change: Change, user_id: str, question_id: str) -> ClaimState:
    """Take a place for URGENT_CLAIM_LEASE seconds, or keep one's own for as long again. Once all
    are taken, no wave begins; who takes one is in the question's room from then on.

    Raises NOT_FOUND, also for an ordinary question, FORBIDDEN for its asker, CONFLICT when no
    answer is awaited any more or when all places are taken.
    """
    places = d.policy.urgent_claims
    if await claims.all_taken(change.conn, question_id, user_id, places, d.now()):
        raise conflict("Others are answering already.")
    question, now = await locked(change.conn, question_id), d.now()
    if not question.urgent:
        raise not_found("urgent question")
    if question.user_id == user_id:
        raise forbidden("The asker does not claim their own question.")
    if not question.awaits_answer(now):
        raise conflict("No answer is awaited any more.")
    await members.ensure(d, change.conn, user_id)
    others = [
        one for one in await claims.living(change.conn, question.id, now) if one.user_id != user_id
    ]
    if len(others) >= places:
        raise conflict("Others are answering already.")
    mine = Claim(user_id, now + timedelta(seconds=d.policy.urgent_claim_lease_s))
    await claims.take(change.conn, question.id, mine, now)
    change.enqueue(alarm(d, question.id, mine.lease_until))
    home = user_room(user_id)
    change.tell(home, Move(room=home, join=(question_room(question.id),)))
    await claims.tell(d, change, question, [*others, mine])
    await advance(d, change, question)
    return ClaimState(claims=len(others) + 1, lease_until=mine.lease_until)


async def release(d: Domain, change: Change, user_id: str, question_id: str) -> ClaimState:
    """Give one's place back; a wave that is due begins at once. Without a place nothing happens.

    Raises NOT_FOUND.
    """
    question, now = await locked(change.conn, question_id), d.now()
    freed = await claims.free(change.conn, question.id, user_id, now)
    left = await claims.living(change.conn, question.id, now)
    if freed:
        await claims.tell(d, change, question, left)
        await advance(d, change, question)
    return ClaimState(claims=len(left), lease_until=None)
