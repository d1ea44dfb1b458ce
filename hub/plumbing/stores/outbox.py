"""Written first, told after.

One transaction writes the change, its outbox rows (what sockets and other services must hear) and
its jobs. After the commit the committing process publishes its own rows at once; the sweeper
publishes whatever is left. A publish that fails stays in the outbox: nothing is only logged.
Rows of one key go out in order of id.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import msgspec
import structlog
from asyncpg import Record
from msgspec import structs

from hub.plumbing.life.clock import Clock
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.waiting import asked_to_end, set_within
from hub.plumbing.stores.outbox_rows import Told, decode, encode, encode_many
from hub.plumbing.stores.postgres import AWAY, Connection, Pool, acquire, to_json
from hub.plumbing.telemetry.metrics import (
    OUTBOX_DROPPED,
    OUTBOX_PUBLISH_FAILED,
    OUTBOX_PUBLISHED,
    OUTBOX_REPLAYED,
)
from hub.plumbing.telemetry.trace import mark, outgoing_headers
from protocol.domain_events import Envelope
from protocol.events import Emit
from protocol.jobs import Job, form_of
from protocol.names import OUTBOX_CHANNEL

log = structlog.get_logger(__name__)

FRESH_FOR: Final = timedelta(seconds=1)
"""How long the sweeper leaves a row to the process that wrote it."""

SWEEP_BATCH: Final = 100

LEFT_A_ROW: Final = 100
"""Events that a change leaves to the sweeper, in one row."""

UNTELLABLE: Final = (msgspec.MsgspecError, TypeError, ValueError, OverflowError)
"""What is raised by a message that nobody can read or write, whatever state the stores are in."""

Publish = Callable[[Sequence[Told]], Awaitable[None]]
"""Hands messages to Redis in order. Raises when Redis did not take them."""

Invalidate = Callable[[Iterable[str]], Awaitable[None]]
"""Says that what is cached under these names has changed. Raises nothing."""


class Epochs(Protocol):
    """A Redis that was restarted, or a replica that was promoted, starts an epoch (ms since 1970):
    what was published shortly before may have reached nobody.
    """

    async def unreplayed(self) -> int | None:
        """The epoch, while nothing was published again in it. Raises when Redis is away."""

    async def replayed(self, epoch: int) -> None:
        """It was."""


def _marked(told: Told) -> Told:
    """With the work that causes it, where that is recorded."""
    work = mark() if isinstance(told, Emit) else ""
    return structs.replace(told, trace=work) if work else told


@dataclass(slots=True)
class Change:
    """A transaction in the making: SQL through `conn`, and what must follow once it committed.
    `event_id`: the event of another service that causes it."""

    conn: Connection
    event_id: UUID | None = None
    told: list[tuple[str, Told]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    stale: dict[str, None] = field(default_factory=dict)
    left: list[Envelope] = field(default_factory=list)

    def tell(self, key: str, *told: Told) -> None:
        """Add messages; those of one `key` (a question, a person) keep their order."""
        self.told.extend((key, _marked(one)) for one in told)

    def invalidate(self, *names: str) -> None:
        """What is cached under these names is not so any more (hub.plumbing.stores.cache)."""
        self.stale.update(dict.fromkeys(names))

    def leave(self, *events: Envelope) -> None:
        """Events for other services that nobody waits for: the sweeper publishes them, a row of
        many at a time. Those of two changes have no order but the times that they tell."""
        self.left.extend(events)

    def enqueue(self, *jobs: Job) -> None:
        self.jobs.extend(jobs)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What the block wrote, told and enqueued is taken back when it raises."""
        told, jobs, left = len(self.told), len(self.jobs), len(self.left)
        try:
            async with self.conn.transaction():
                yield
        except BaseException:
            del self.told[told:], self.jobs[jobs:], self.left[left:]
            raise


class _Written(NamedTuple):
    """`ids` are of the rows that this process publishes; `behind`: an older one of a key of theirs
    was not out when they were written."""

    ids: list[int]
    behind: bool


class Outbox:
    """Runs changes and publishes what they told, or `leaves` it to the sweepers; one a process.

    `replay_s` (REDIS_REPLAY_S) should cover what a master that lost its place still took: with
    Sentinel more than its down-after-milliseconds.
    """

    def __init__(
        self,
        pool: Pool,
        publish: Publish,
        clock: Clock,
        epochs: Epochs | None = None,
        replay_s: float = 10.0,
        invalidate: Invalidate | None = None,
        leaves: bool = False,
    ) -> None:
        self._pool = pool
        self._publish = publish
        self._clock = clock
        self._epochs = epochs
        self._replay = timedelta(seconds=replay_s)
        self._invalidate = invalidate
        self._leaves = leaves
        self._failing = Lasting(log, "outbox.publish_failed", "outbox.publishes_again")

    @asynccontextmanager
    async def change(self, committed: Callable[[], None] | None = None) -> AsyncIterator[Change]:
        """Commit what the block did together with its outbox rows and jobs, then publish.
        `committed` is called in between: what is published by then goes out before what another
        change publishes that begins then.

        Raises what the block raises (nothing is kept then), HubError UNAVAILABLE when Postgres is
        away. A Redis that is away raises nothing: the rows wait for the sweeper.
        """
        async with acquire(self._pool, "change") as conn:
            async with conn.transaction():
                change = Change(conn)
                yield change
                written = await self._write(change)
                await enqueue(conn, change.jobs)
            if change.stale and self._invalidate:
                await self._invalidate(change.stale)
            if committed is not None:
                committed()
            if written.ids:
                await self._publish_own(conn, written, [told for _, told in change.told])

    async def _write(self, change: Change) -> _Written:
        """The rows. Whoever changes the same thing holds its lock until this change is over, so
        what was not out before, of the same keys, is seen by the statement that writes."""
        rows = [
            ("event" if isinstance(told, Envelope) else "emit", key, encode(told))
            for key, told in change.told
        ]
        for begin in range(0, len(change.left), LEFT_A_ROW):
            events = change.left[begin : begin + LEFT_A_ROW]
            rows.append(("event", str(events[0].event_id), encode_many(events)))
        if not rows:
            return _Written([], False)
        written = await change.conn.fetch(
            "INSERT INTO outbox AS mine (kind, key, payload, available_at)"
            " SELECT *, $4 FROM unnest($1::text[], $2::text[], $3::bytea[])"
            " RETURNING id, EXISTS (SELECT FROM outbox older WHERE older.key = mine.key"
            "  AND older.published_at IS NULL) AS behind",
            *zip(*rows, strict=True),
            self._clock.now() + (timedelta(0) if self._leaves else FRESH_FOR),
        )
        own = written[: len(change.told)]
        return _Written([row["id"] for row in own], any(row["behind"] for row in own))

    async def _publish_own(self, conn: Connection, own: _Written, told: list[Told]) -> None:
        ids = own.ids
        try:
            if self._leaves or (own.behind and await _overtakes(conn, ids)):
                await conn.execute(f"NOTIFY {OUTBOX_CHANNEL}")
                return
            await self._publish(self._timely(told))
            await _mark(conn, ids)
            self._failing.over()
        except Exception as error:  # the rows are safe; whatever failed, the sweeper brings them
            OUTBOX_PUBLISH_FAILED.inc()
            self._failing.seen(rows=len(ids), error=type(error).__name__)

    async def sweep(self) -> int:
        """Publish up to a batch of due rows; returns how many went out.

        SKIP LOCKED lets several sweepers work; a key whose oldest row another one holds waits.
        Raises HubError UNAVAILABLE, or what the publish raises: the rows stay.
        """
        async with acquire(self._pool, "sweep") as conn, conn.transaction():
            rows = await conn.fetch(
                "SELECT id, payload FROM outbox o WHERE published_at IS NULL AND available_at <= $1"
                " AND NOT EXISTS (SELECT FROM outbox older WHERE older.key = o.key"
                "   AND older.published_at IS NULL AND older.id < o.id AND older.available_at > $1)"
                " ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED",
                self._clock.now(),
                SWEEP_BATCH,
            )
            if not rows:
                return 0
            held = await conn.fetch(
                "SELECT mine.id FROM outbox mine WHERE mine.id = ANY($1::bigint[]) AND EXISTS"
                " (SELECT FROM outbox older WHERE older.key = mine.key AND older.id < mine.id"
                "  AND older.published_at IS NULL AND older.id <> ALL($1::bigint[]))",
                [row["id"] for row in rows],
            )
            waiting = {row["id"] for row in held}
            ready = [row for row in rows if row["id"] not in waiting]
            if ready:
                await self._publish_rows(ready)
                await _mark(conn, [row["id"] for row in ready])
            return len(ready)

    async def _publish_rows(self, rows: Sequence[Record]) -> None:
        """All at once; where one cannot be told, each by itself, so that it holds up nobody else.
        What no try can ever tell is dropped, counted and named in the log.
        """
        try:
            told = [one for row in rows for one in decode(row["payload"])]
            await self._publish(self._timely(told))
        except UNTELLABLE:
            for row in rows:
                try:
                    await self._publish(self._timely(decode(row["payload"])))
                except UNTELLABLE as error:
                    OUTBOX_DROPPED.labels(event="untellable").inc()
                    log.error("outbox.untellable", row=row["id"], error=type(error).__name__)

    async def replay(self) -> int:
        """In a new epoch, make due again what was published in the last REDIS_REPLAY_S before the
        old one fell silent, and everything since; how many rows. The publishing script drops the
        ids that the new epoch has published already.

        Raises HubError UNAVAILABLE, or what Redis raises.
        """
        epoch = await self._epochs.unreplayed() if self._epochs else None
        if self._epochs is None or epoch is None:
            return 0
        async with acquire(self._pool, "replay") as conn:
            rows = await conn.fetch(
                "UPDATE outbox SET published_at = NULL, available_at = $3 WHERE published_at >="
                " (SELECT max(published_at) FROM outbox WHERE published_at <= $1) - $2::interval"
                " RETURNING id",
                datetime.fromtimestamp(epoch / 1000, UTC),
                self._replay,
                self._clock.now(),
            )
        await self._epochs.replayed(epoch)
        OUTBOX_REPLAYED.inc(len(rows))
        log.info("outbox.new_epoch", again=len(rows))
        return len(rows)

    def _timely(self, told: Sequence[Told]) -> list[Told]:
        """Late is worse than never: an emit past its deadline is dropped and counted."""
        now = self._clock.now().timestamp()
        kept = []
        for one in told:
            if isinstance(one, Emit) and one.deadline is not None and one.deadline <= now:
                OUTBOX_DROPPED.labels(event=one.event).inc()
            else:
                kept.append(one)
        return kept


async def _overtakes(conn: Connection, ids: list[int]) -> bool:
    """Whether an older row of a key of these is not out yet."""
    found = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM outbox mine JOIN outbox older USING (key)"
        " WHERE mine.id = ANY($1::bigint[]) AND older.published_at IS NULL AND older.id < $2)",
        ids,
        min(ids),
    )
    return bool(found)


async def _mark(conn: Connection, ids: list[int]) -> None:
    """Nobody waits for the disk: where the mark is lost, the rows go out again under their ids."""
    await conn.execute(
        "UPDATE outbox SET published_at = now() WHERE id = ANY($1::bigint[])"
        " AND set_config('synchronous_commit', 'off', true) = 'off'",
        ids,
    )
    OUTBOX_PUBLISHED.inc(len(ids))


async def enqueue(conn: Connection, jobs: Sequence[Job]) -> None:
    """Put jobs into the queue inside the caller's transaction, each with the ids of who caused it:
    rows of the job engine's table, as it would write them, in one plain statement.

    Raises LookupError for a queue nobody works on (S2-132).
    """
    if not jobs:
        return
    for job in jobs:
        form_of(job.entrypoint)
    cause = outgoing_headers()
    await conn.execute(
        "INSERT INTO pgqueuer (entrypoint, priority, payload, execute_after, headers, status)"
        " SELECT w.entrypoint, w.priority, w.payload, now() + w.delay, w.headers, 'queued'"
        " FROM unnest($1::text[], $2::int[], $3::bytea[], $4::interval[], $5::jsonb[])"
        "  WITH ORDINALITY AS w (entrypoint, priority, payload, delay, headers, place)"
        " ORDER BY w.place",
        [job.entrypoint for job in jobs],
        [job.priority for job in jobs],
        [msgspec.json.encode(job.payload) for job in jobs],
        [timedelta(seconds=max(0.0, job.delay_s)) for job in jobs],
        [to_json({**cause, **job.headers}) for job in jobs],
    )


async def run_sweeper(outbox: Outbox, pool: Pool, *, poll_s: float = 1.0) -> None:
    """Woken by NOTIFY, safe by polling; ends when cancelled."""
    woken = asyncio.Event()
    waits = Lasting(log, "outbox.sweeper_waits", "outbox.sweeper_works_again")
    failing = Lasting(log, "outbox.sweep_failed", "outbox.sweeps_again")

    def wake(*_: object) -> None:
        woken.set()

    while True:
        try:
            async with pool.acquire() as conn:
                await conn.add_listener(OUTBOX_CHANNEL, wake)
                waits.over()
                try:
                    await _sweep_until_lost(outbox, conn, woken, poll_s, failing)
                finally:
                    if not conn.is_closed():
                        await conn.remove_listener(OUTBOX_CHANNEL, wake)
        except AWAY as error:
            if asked_to_end():  # on a lost connection the way out fails too
                raise asyncio.CancelledError from None
            waits.seen(error=type(error).__name__)
            await asyncio.sleep(poll_s)


async def _sweep_until_lost(
    outbox: Outbox, conn: Connection, woken: asyncio.Event, poll_s: float, failing: Lasting
) -> None:
    while not conn.is_closed():
        try:
            await outbox.replay()
            while await outbox.sweep() == SWEEP_BATCH:
                pass
            failing.over()
        except Exception as error:  # Redis or Postgres is away: the rows stay, try again
            OUTBOX_PUBLISH_FAILED.inc()
            failing.seen(error=type(error).__name__)
        await set_within(woken, poll_s)
        woken.clear()
