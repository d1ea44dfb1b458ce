"""The progress of an urgent question: what its time and its claims say is next.

Its rows are the truth: when each wave is due, how long each claim lives, when all is over. Jobs are
only alarms; each of them looks at everything, so that one that comes late, twice or out of order
does no harm.
"""

from datetime import datetime, timedelta
from typing import Final

from hub.domain.context import Domain
from hub.domain.people import blocks, members
from hub.domain.questions import claims, urgent
from hub.domain.questions.question import Question, locked
from hub.domain.questions.waves import WAVE, Wave, broadcast
from hub.domain.rules.states import AWAITING, UrgentState
from hub.plumbing.stores.outbox import Change
from hub.plumbing.telemetry.metrics import URGENT_QUESTIONS
from protocol.errors import Code, HubError
from protocol.jobs import Job, clock_job, wave_job

SOONEST_S: Final = 0.05
"""Before an alarm that rang early rings again: two machines' clocks differ by less."""


async def set_out(d: Domain, change: Change, question: Question) -> Question:
    """Of a question just written: plan its waves, counted from when it was asked, set an alarm for
    each and for the deadline, and begin. One that comes late begins with the widest wave due.
    """
    dues = [question.created_at + timedelta(seconds=wave.after_s) for wave in d.policy.waves]
    await change.conn.execute(
        "INSERT INTO urgent_waves (question_id, wave, radius_m, due_at)"
        " SELECT $1, n, radius_m, due_at FROM unnest($2::int[], $3::timestamptz[])"
        " WITH ORDINALITY AS t (radius_m, due_at, n)",
        question.id,
        [wave.radius_m for wave in d.policy.waves],
        dues,
    )
    assert question.deadline_at is not None
    for due in (*dues, question.deadline_at):
        if due > d.now():
            change.enqueue(alarm(d, question.id, due))
    URGENT_QUESTIONS.inc()
    return await advance(d, change, question)


def alarm(d: Domain, question_id: str, at: datetime) -> Job:
    """Looks at the question at that time."""
    delay_s = max(SOONEST_S, (at - d.now()).total_seconds())
    return clock_job(question_id, at, delay_s=delay_s)


async def look(d: Domain, question_id: str, due_at: datetime) -> None:
    """An alarm rings; one that rings before its time, by this machine's clock, rings again."""
    async with d.outbox.change() as change:
        if d.now() < due_at:
            change.enqueue(alarm(d, question_id, due_at))
            return
        try:
            question = await locked(change.conn, question_id)
        except HubError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return
        if question.awaits_answer(d.now()) and await claims.lapsed(
            change.conn, question_id, due_at
        ):
            await claims.tell(
                d, change, question, await claims.living(change.conn, question_id, d.now())
            )
        await advance(d, change, question)


async def advance(d: Domain, change: Change, question: Question) -> Question:
    """Bring a locked question to where it should be by now, and return it as it is then.

    A wave begins at its time, unless every place is claimed; once one is free again, the widest
    that is due begins at once. Narrower ones that had not begun are passed over: the widest covers
    them.
    """
    if question.urgent_state not in AWAITING:
        return question
    if question.late(d.now()):
        return await urgent.expire(d, change, question)
    living = await claims.living(change.conn, question.id, d.now())
    if len(living) >= d.policy.urgent_claims:
        if question.urgent_state is UrgentState.WAVE:
            question = await urgent.move(change, question, UrgentState.CLAIMED)
        return question
    if question.urgent_state is UrgentState.CLAIMED:
        question = await urgent.move(change, question, UrgentState.WAVE)
    return await _begin_due(d, change, question)


async def _begin_due(d: Domain, change: Change, question: Question) -> Question:
    row = await change.conn.fetchrow(
        f"SELECT {WAVE}, w.started_at FROM urgent_waves w WHERE question_id = $1"  # noqa: S608 - a constant
        " AND due_at <= $2 ORDER BY wave DESC LIMIT 1",
        question.id,
        d.now(),
    )
    if row is None or row["started_at"] is not None:
        return question
    wave = Wave.of(row)
    await change.conn.execute(
        "UPDATE urgent_waves SET started_at = $3 WHERE question_id = $1 AND wave = $2",
        question.id,
        wave.number,
        d.now(),
    )
    question = await urgent.move(change, question, UrgentState.WAVE)
    who = await members.author(change.conn, question.user_id)
    deaf = await blocks.deaf_to(change.conn, question.user_id)
    change.tell(question.id, broadcast(question, who, wave, deaf))
    change.enqueue(wave_job(question.id, wave.number))
    return question
