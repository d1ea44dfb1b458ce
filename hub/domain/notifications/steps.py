"""Following the rules for notifications, many at a time: what is due is claimed for a sender, what
has to wait is looked at again, what may not leave is withheld, and each decision is kept.

All of a batch are one transaction and a statement a table, whatever their number.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec import Struct, structs

from hub.domain.context import Domain
from hub.domain.notifications.case import Case, facts_of, load
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.delivery import check_again, delivery_id, job_on
from hub.domain.notifications.orders import Addressee, Claimed, Order, addressees, orders_of
from hub.domain.rules.kinds import Channel
from hub.domain.rules.ladder import Delivery, Done, Facts, Send, Suppress, Wait, next_step
from hub.domain.rules.reasons import Cause, Reason, Verdict, verdict_of
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from hub.plumbing.telemetry.metrics import DELIVERIES
from hub.plumbing.telemetry.trace import Trace
from protocol.jobs import Job


class Busy(Enum):
    """Somebody else holds this one, or it is gone: look at it by itself."""

    BUSY = "busy"


BUSY: Final = Busy.BUSY


class Look(Struct, frozen=True):
    """Follow the rules for one notification until something is to be sent on `channel`, or until
    there is nothing to do.

    What has to wait, or belongs to another channel's queue, is enqueued as part of `trace`.
    `lease_s`: how long the claimed rows are this process's; after that another one may take them.
    `withhold`: `channel` cannot be used now, its sending is suppressed with this reason. `again`:
    what had failed on `channel` for no fault of its own is tried anew (a dead letter that was put
    back).
    """

    notification_id: UUID
    created_at: datetime
    channel: Channel | None = None
    lease_s: float = 0.0
    withhold: Reason | None = None
    again: bool = False
    trace: Trace | None = None


async def take_steps(d: Domain, look: Look) -> Order | None:
    """What is to be sent now, claimed; None where that is nothing."""
    (found,) = await _take(d, [look], wait=True)
    return None if found is BUSY else found


async def take_steps_of(d: Domain, looks: Sequence[Look]) -> list[Order | Busy | None]:
    """The same for many, which wait for nobody's lock."""
    return await _take(d, looks, wait=False)


async def _take(d: Domain, looks: Sequence[Look], *, wait: bool) -> list[Order | Busy | None]:
    async with d.outbox.change() as change:
        wanted = {(look.notification_id, look.created_at) for look in looks}
        cases = await load(change.conn, list(wanted), d.now(), wait=wait)
        found: list[Order | Busy | None] = [BUSY] * len(looks)
        for turn in _turns(looks, cases):
            again = [looks[place] for place in turn if looks[place].again]
            if again:
                await _requeue(change.conn, again)
            pairs = {place: (looks[place], cases[looks[place].notification_id]) for place in turn}
            orders = await _follow(d, change, pairs)
            for place in turn:
                found[place] = orders.get(place)
        return found


async def give_up(d: Domain, id: UUID, created_at: datetime, channel: Channel, code: str) -> None:
    """No try on this channel will ever say what came of it: what they left open has failed, and the
    next channel has its turn."""
    async with d.outbox.change() as change:
        case = (await load(change.conn, [(id, created_at)], d.now(), wait=True)).get(id)
        if case is None:
            return
        (known,) = await facts_of(d, change.conn, [case])
        if not any(one.channel is channel for one in known.deliveries):
            await change.conn.execute(
                "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status)"
                " VALUES ($1, $2, $3, $4, $5, 'queued') ON CONFLICT DO NOTHING",
                delivery_id(id, channel),
                created_at,
                id,
                case.notification.user_id,
                channel,
            )
        failed = await change.conn.fetch(
            "UPDATE deliveries SET status = 'failed', error_code = $3, lease_until = NULL,"
            " updated_at = $4 WHERE notification_id = $1 AND channel = $2"
            " AND status IN ('queued', 'sending') RETURNING id",
            id,
            channel,
            code,
            d.now(),
        )
        if failed:
            DELIVERIES.labels(channel=channel, status=DeliveryStatus.FAILED, reason="").inc()
            detail = {"errorCode": code}
            decision = _decision(case, channel, Verdict.FAILED, Cause.GIVEN_UP, detail)
            await record(change.conn, d.now(), [decision])
        change.enqueue(check_again(d, id, created_at, case.notification.kind, d.now()))


def _turns(looks: Sequence[Look], cases: Mapping[UUID, Case]) -> list[list[int]]:
    """Places in `looks`, so that no turn has a person twice: what one of their notifications did is
    a fact for the next."""
    turns: list[list[int]] = []
    seen: defaultdict[str, int] = defaultdict(int)
    for place, look in enumerate(looks):
        case = cases.get(look.notification_id)
        if case is None:
            continue
        number = seen[case.notification.user_id]
        seen[case.notification.user_id] += 1
        if number == len(turns):
            turns.append([])
        turns[number].append(place)
    return turns


async def _requeue(conn: Connection, looks: Sequence[Look]) -> None:
    await conn.execute(
        "UPDATE deliveries x SET status = 'queued' FROM unnest($1::uuid[], $2::text[])"
        " AS w (notification_id, channel) WHERE x.notification_id = w.notification_id"
        " AND x.channel = w.channel AND x.status = 'failed' AND x.reason IS NULL",
        [look.notification_id for look in looks],
        [look.channel for look in looks],
    )


async def _follow(
    d: Domain, change: Change, pairs: Mapping[int, tuple[Look, Case]]
) -> dict[int, Order | None]:
    """Of different people. What was withheld may have a next channel, and is looked at again."""
    now, orders = d.now(), dict[int, Order | None]()
    while pairs:
        facts = await facts_of(d, change.conn, [case for _, case in pairs.values()])
        withheld: dict[int, tuple[Case, Suppress]] = {}
        due: dict[int, _Due] = {}
        for (place, (look, case)), known in zip(pairs.items(), facts, strict=True):
            step = next_step(known, now)
            match step:
                case Done():
                    continue
                case Suppress():
                    withheld[place] = case, step
                case Wait(until):
                    one = case.notification
                    _enqueue(change, look, check_again(d, one.id, one.created_at, one.kind, until))
                case Send(channel) if channel is not look.channel:
                    one = case.notification
                    _enqueue(change, look, job_on(channel, one.id, one.created_at, one.kind))
                case Send(channel) if look.withhold is not None:
                    withheld[place] = case, Suppress(channel, look.withhold)
                case Send(channel):
                    lease_until = now + timedelta(seconds=look.lease_s)
                    due[place] = _Due(case, step, lease_until, known)
        if withheld:
            await _suppress(d, change.conn, list(withheld.values()))
        if due:
            claimed = await _claim(d, change.conn, list(due.values()))
            orders |= dict(zip(due, claimed, strict=True))
        pairs = {place: pairs[place] for place in withheld}
    return orders


def _enqueue(change: Change, look: Look, job: Job) -> None:
    change.enqueue(job if look.trace is None else job.caused_by(look.trace.outgoing_headers()))


async def _suppress(d: Domain, conn: Connection, withheld: Sequence[tuple[Case, Suppress]]) -> None:
    """Withhold whole channels: what was queued ends, or one row says why there was none."""
    now = d.now()
    changed = await conn.fetch(
        "UPDATE deliveries x SET status = w.status, reason = w.reason, lease_until = NULL,"
        " updated_at = $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])"
        "  AS w (notification_id, channel, status, reason)"
        " WHERE x.notification_id = w.notification_id AND x.channel = w.channel"
        " AND x.status IN ('queued', 'sending') RETURNING x.notification_id, x.channel",
        [case.notification.id for case, _ in withheld],
        [step.channel for _, step in withheld],
        [_status_of(step.reason) for _, step in withheld],
        [step.reason for _, step in withheld],
        now,
    )
    ended = {(row["notification_id"], row["channel"]) for row in changed}
    await conn.executemany(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status,"
        " reason) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        [
            (
                delivery_id(case.notification.id, step.channel),
                case.notification.created_at,
                case.notification.id,
                case.notification.user_id,
                step.channel,
                _status_of(step.reason),
                step.reason,
            )
            for case, step in withheld
            if (case.notification.id, step.channel) not in ended
        ],
    )
    decisions = []
    for case, step in withheld:
        status = _status_of(step.reason)
        DELIVERIES.labels(channel=step.channel, status=status, reason=step.reason).inc()
        decisions.append(_decision(case, step.channel, verdict_of(step.reason), step.reason))
    await record(conn, now, decisions)


def _status_of(reason: Reason) -> DeliveryStatus:
    expired = verdict_of(reason) is Verdict.EXPIRED
    return DeliveryStatus.EXPIRED if expired else DeliveryStatus.SUPPRESSED


def _decision(
    case: Case,
    channel: Channel,
    verdict: Verdict,
    reason: Reason | Cause,
    detail: Mapping[str, Any] | None = None,
) -> Decision:
    one = case.notification
    return Decision(one.user_id, verdict, reason, one.question_id, one.id, channel, detail or {})


class _Due(NamedTuple):
    case: Case
    step: Send
    lease_until: datetime
    facts: Facts

    @property
    def tried(self) -> bool:
        """Whether its channel has rows already."""
        return any(one.channel is self.step.channel for one in self.facts.deliveries)

    def check_at(self, now: datetime) -> datetime | None:
        """When the next channel's time comes if this one is sent now; whatever else is to be done
        then is looked at then."""
        channel = self.step.channel
        others = [one for one in self.facts.deliveries if one.channel is not channel]
        sent = Delivery(channel, DeliveryStatus.SENT)
        step = next_step(structs.replace(self.facts, deliveries=[*others, sent]), now)
        return step.until if isinstance(step, Wait) else None


async def _claim(d: Domain, conn: Connection, due: Sequence[_Due]) -> list[Order | None]:
    """Rows for those addresses that have none, and what others left there."""
    found: dict[UUID, list[Addressee]] = {}
    for channel in {one.step.channel for one in due}:
        of = {one.case.notification.user_id: one for one in due if one.step.channel is channel}
        for user_id, people in (await addressees(conn, list(of), channel)).items():
            found[of[user_id].case.notification.id] = people
    now = d.now()
    rows = await _left(now, conn, [one for one in due if one.tried])
    rows += await _first(now, conn, due, found)
    claimed: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        claimed[row["notification_id"]].append(row)
    decisions, orders = [], []
    for one in due:
        mine = claimed[one.case.notification.id]
        if any(row["attempts"] == 1 for row in mine):  # further tries are no further decision
            after = {} if one.step.after_s is None else {"afterS": one.step.after_s}
            decisions.append(
                _decision(one.case, one.step.channel, Verdict.TOLD, one.step.cause, after)
            )
        there = {that.device_id: that for that in found.get(one.case.notification.id, ())}
        targets = [
            Claimed(row["id"], row["attempts"], row["device_id"], there.get(row["device_id"]))
            for row in mine
        ]
        orders.append((one.case, one.step, one.check_at(now), targets))
    await record(conn, now, decisions)
    return await orders_of(conn, orders)


async def _left(now: datetime, conn: Connection, due: Sequence[_Due]) -> list[Row]:
    """What waits for another try, and what a sender that is gone had begun."""
    if not due:
        return []
    return await conn.fetch(
        "UPDATE deliveries x SET status = 'sending', attempts = x.attempts + 1,"
        " lease_until = w.lease_until, updated_at = $4"
        " FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])"
        "  AS w (notification_id, channel, lease_until)"
        " WHERE x.notification_id = w.notification_id AND x.channel = w.channel"
        " AND (x.status = 'queued' OR x.status = 'sending' AND x.lease_until <= $4)"
        " RETURNING x.notification_id, x.id, x.attempts, x.device_id",
        [one.case.notification.id for one in due],
        [one.step.channel for one in due],
        [one.lease_until for one in due],
        now,
    )


async def _first(
    now: datetime,
    conn: Connection,
    due: Sequence[_Due],
    found: Mapping[UUID, Sequence[Addressee]],
) -> list[Row]:
    given = [(one, address) for one in due for address in found.get(one.case.notification.id, ())]
    return await conn.fetch(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, device_id,"
        " lease_until, status, attempts, updated_at)"
        " SELECT w.*, 'sending', 1, $8 FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[],"
        " $4::text[], $5::text[], $6::uuid[], $7::timestamptz[]) AS w ON CONFLICT DO NOTHING"
        " RETURNING notification_id, id, attempts, device_id",
        [
            delivery_id(one.case.notification.id, one.step.channel, address.device_id)
            for one, address in given
        ],
        [one.case.notification.created_at for one, _ in given],
        [one.case.notification.id for one, _ in given],
        [one.case.notification.user_id for one, _ in given],
        [one.step.channel for one, _ in given],
        [address.device_id for _, address in given],
        [one.lease_until for one, _ in given],
        now,
    )
