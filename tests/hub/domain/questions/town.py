"""A town on a virtual clock: people around a question, and the jobs of urgent questions, each at
its time. Jobs that send are not run: what they would find is looked at in the rows.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import msgspec

from hub.domain.context import Domain
from hub.domain.notifications import retraction
from hub.domain.people import members
from hub.domain.questions import answering, claiming, progress, waves
from hub.domain.rules.reasons import Reason
from hub.plumbing.life.clock import VirtualClock
from protocol.domain_events import UserUpdated
from protocol.events.questions import ClaimState
from protocol.jobs import form_of
from protocol.rest.questions import Ask
from tests import verbs

PLACE: Final = (33.489, 126.493)
KM: Final = 0.009
"""Degrees of latitude, roughly."""

PHARMACY: Final = Ask(
    title="문 연 약국?", content="연동이요", urgency="urgent", lat=PLACE[0], lng=PLACE[1]
)

Run = Callable[[Domain, Any], Awaitable[object]]
JOBS: Final[dict[str, Run]] = {
    "urgent-clock": lambda d, job: progress.look(d, job.question_id, job.due_at),
    "urgent-wave": lambda d, job: waves.tell_audience(d, job.question_id, job.wave),
    "urgent-retract": lambda d, job: retraction.settle_pending(
        d, job.question_id, Reason(job.reason)
    ),
}


class Crash(Exception):
    """A process died before its transaction was through."""


@dataclass
class Town:
    d: Domain
    clock: VirtualClock
    ran: list[str] = field(default_factory=list)
    lives: int | None = None
    """So many transactions of jobs from now one is lost, and its job runs again."""

    died: int = 0

    twice: bool = False
    """Every job is delivered twice."""

    _due: dict[int, datetime] = field(default_factory=dict)

    async def person(
        self, name: str, km: float | None, *, verified: bool = True, radius_m: int = 20_000
    ) -> None:
        """Somebody so far south of the place; None: nobody knows where."""
        consent = self.d.now()
        async with self.d.outbox.change() as change:
            known = UserUpdated(
                user_id=name,
                nickname=name,
                region_code="jeju",
                is_local_verified=verified,
                location_consent_at=consent,
            )
            await members.update(self.d, change, known)
        await self.sql("UPDATE users SET last_active_at = $2 WHERE id = $1", name, consent)
        await self.sql(
            "UPDATE notification_preferences SET radius_m = $2 WHERE user_id = $1", name, radius_m
        )
        if km is not None:
            await verbs.locate(self.d, name, PLACE[0] - km * KM, PLACE[1])

    async def ask(self, asker: str = "mina") -> str:
        """An urgent question; what is due at once has run."""
        id = (await verbs.ask(self.d, asker, PHARMACY)).id
        await self.advance(0)
        return id

    async def answer(self, name: str, question_id: str) -> str:
        id = (await verbs.answer(self.d, name, question_id, "여기요")).id
        await self.advance(0)
        return id

    async def take_back(self, answer_id: str) -> None:
        async with self.d.outbox.change() as change:
            await answering.take_back(self.d, change, answer_id)
        await self.advance(0)

    async def claim(self, name: str, question_id: str) -> ClaimState:
        async with self.d.outbox.change() as change:
            state = await claiming.claim(self.d, change, name, question_id)
        await self.advance(0)
        return state

    async def release(self, name: str, question_id: str) -> ClaimState:
        async with self.d.outbox.change() as change:
            state = await claiming.release(self.d, change, name, question_id)
        await self.advance(0)
        return state

    async def advance(self, seconds: float) -> None:
        """Run what falls due until then, each at its time."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while (job := await self._next()) is not None and self._due[job["id"]] <= end:
            late = (self._due[job["id"]] - self.clock.now()).total_seconds()
            self.clock.advance(max(0.0, late))
            await self._run(job)
        self.clock.advance((end - self.clock.now()).total_seconds())

    async def _next(self) -> Any:
        rows = await self.sql(
            "SELECT *, execute_after - created AS delay FROM pgqueuer"
            " WHERE status = 'queued' AND entrypoint = ANY($1)",
            list(JOBS),
        )
        for row in rows:
            self._due.setdefault(row["id"], self.clock.now() + row["delay"])
        return min(rows, key=lambda row: (self._due[row["id"]], row["id"]), default=None)

    async def _run(self, job: Any) -> None:
        name = job["entrypoint"]
        payload = msgspec.json.decode(job["payload"], type=form_of(name))
        write = self.d.outbox._write

        async def dying(change: Any) -> Any:
            if self.lives is not None:
                self.lives -= 1
                if self.lives < 0:
                    self.lives, self.died = None, self.died + 1
                    raise Crash
            return await write(change)

        self.d.outbox._write = dying  # type: ignore[method-assign]
        try:
            for _ in range(2 if self.twice else 1):
                await JOBS[name](self.d, payload)
        except Crash:
            return
        finally:
            del self.d.outbox._write
        self.ran.append(name)
        await self.sql("DELETE FROM pgqueuer WHERE id = $1", job["id"])

    async def sql(self, statement: str, *args: Any) -> list[Any]:
        return list(await self.d.pool.fetch(statement, *args))

    async def told(self, event: str) -> list[dict[str, Any]]:
        """What was told of one event, in order: its data, and beside it `rooms` and `except`."""
        rows = await self.sql("SELECT payload FROM outbox WHERE kind = 'emit' ORDER BY id")
        emits = [msgspec.msgpack.decode(row["payload"]).get("emit") for row in rows]
        return [
            {**one["data"], "rooms": one["rooms"], "except": one.get("except_rooms", [])}
            for one in emits
            if one is not None and one["event"] == event
        ]

    async def state(self, question_id: str) -> str:
        rows = await self.sql("SELECT urgent_state FROM questions WHERE id = $1", question_id)
        return str(rows[0]["urgent_state"])

    async def begun(self, question_id: str) -> dict[int, float]:
        """Wave: seconds after the question was asked."""
        rows = await self.sql(
            "SELECT w.wave, w.started_at - q.created_at AS after FROM urgent_waves w"
            " JOIN questions q ON q.id = w.question_id"
            " WHERE q.id = $1 AND w.started_at IS NOT NULL ORDER BY w.wave",
            question_id,
        )
        return {row["wave"]: row["after"].total_seconds() for row in rows}

    async def woken(self, question_id: str) -> dict[str, int]:
        """Who was told by name, and by which wave."""
        rows = await self.sql(
            "SELECT user_id, wave FROM question_recipients WHERE question_id = $1"
            " AND notification_id IS NOT NULL ORDER BY user_id",
            question_id,
        )
        return {row["user_id"]: row["wave"] for row in rows}


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:8]}"
