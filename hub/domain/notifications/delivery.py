"""Deliveries: what was tried on which channel, claimed before it is sent and settled after.

The senders live in `workers`; here stand the facts, the claim and the record. A `deliveries` row is
written before the provider is called and updated after, so a crash in between leaves a trace and
the next try finds the same row.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from hub.domain.context import Domain, outgoing
from hub.domain.notifications.case import Case, load
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.orders import Claimed, Order, Target, addressees, order_of
from hub.domain.notifications.suppressions import suppress
from hub.domain.rules.kinds import Channel, Kind
from hub.domain.rules.ladder import Done, Send, Suppress, Wait, next_step
from hub.domain.rules.reasons import Cause, Reason, Verdict, verdict_of
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from hub.plumbing.telemetry.metrics import DELIVERIES
from protocol.domain_events import NotificationDelivered
from protocol.jobs import Job, delivery_job, push_retract_job, unseen_check
from protocol.mail_address import comparison_key


def job_on(channel: Channel, id: UUID, created_at: datetime, kind: Kind) -> Job:
    """The job that sends a notification of this kind on a channel."""
    return delivery_job(channel, str(id), created_at, urgent=kind.urgent, bulk=kind.bulk)


async def take_steps(
    d: Domain,
    notification_id: UUID,
    created_at: datetime,
    channel: Channel | None,
    lease_s: float,
    *,
    withhold: Reason | None = None,
    again: bool = False,
) -> Order | None:
    """Follow the rules until something is to be sent on `channel`, or until there is nothing to do.

    What has to wait, or belongs to another channel's queue, is enqueued. `lease_s`: how long the
    claimed rows are this process's; after that another one may take them. `withhold`: `channel`
    cannot be used now, its sending is suppressed with this reason. `again`: what had failed on
    `channel` for no fault of its own is tried anew (a dead letter that was put back).
    """
    async with d.outbox.change() as change:
        case = await load(change.conn, notification_id, created_at, d.now())
        if case is None:
            return None
        if again and channel is not None:
            await _requeue(change.conn, notification_id, channel)
        while True:
            step = next_step(await case.facts(d, change.conn), d.now())
            if isinstance(step, Done):
                return None
            if isinstance(step, Suppress):
                await _suppress(d, change.conn, case, step)
                continue
            if isinstance(step, Wait):
                _check_again(d, change, case, step.until)
                return None
            if step.channel is not channel:
                _hand_over(change, case, step)
                return None
            if withhold is not None:
                await _suppress(d, change.conn, case, Suppress(step.channel, withhold))
                continue
            return await _claim(d, change.conn, case, step, lease_s)


async def _requeue(conn: Connection, notification_id: UUID, channel: Channel) -> None:
    await conn.execute(
        "UPDATE deliveries SET status = 'queued' WHERE notification_id = $1 AND channel = $2"
        " AND status = 'failed' AND reason IS NULL",
        notification_id,
        channel,
    )


def _check_again(d: Domain, change: Change, case: Case, until: datetime) -> None:
    delay_s = max(0.0, (until - d.now()).total_seconds())
    one = case.notification
    change.enqueue(
        unseen_check(str(one.id), one.created_at, delay_s=delay_s, urgent=one.kind.urgent)
    )


def _hand_over(change: Change, case: Case, step: Send) -> None:
    one = case.notification
    change.enqueue(job_on(step.channel, one.id, one.created_at, one.kind))


async def _suppress(d: Domain, conn: Connection, case: Case, step: Suppress) -> None:
    """Withhold a whole channel: what was queued ends, or one row says why there was none."""
    one, verdict = case.notification, verdict_of(step.reason)
    expired = verdict is Verdict.EXPIRED
    status = DeliveryStatus.EXPIRED if expired else DeliveryStatus.SUPPRESSED
    changed = await conn.fetch(
        "UPDATE deliveries SET status = $3, reason = $4, lease_until = NULL, updated_at = $5"
        " WHERE notification_id = $1 AND channel = $2 AND status IN ('queued', 'sending')"
        " RETURNING id",
        one.id,
        step.channel,
        status,
        step.reason,
        d.now(),
    )
    if not changed:
        await conn.execute(
            "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status,"
            " reason) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            delivery_id(one.id, step.channel),
            one.created_at,
            one.id,
            one.user_id,
            step.channel,
            status,
            step.reason,
        )
    DELIVERIES.labels(channel=step.channel, status=status, reason=step.reason).inc()
    await _decide(d, conn, case, step.channel, verdict, step.reason)


def delivery_id(notification_id: UUID, channel: Channel, device_id: UUID | None = None) -> UUID:
    """The same for every try, so that a second one finds the row of the first."""
    return uuid5(notification_id, f"{channel}:{device_id or ''}")


async def _claim(
    d: Domain, conn: Connection, case: Case, step: Send, lease_s: float
) -> Order | None:
    one = case.notification
    targets = await addressees(conn, one.user_id, step.channel)
    await conn.executemany(
        "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status,"
        " device_id) VALUES ($1, $2, $3, $4, $5, 'queued', $6) ON CONFLICT DO NOTHING",
        [
            (
                delivery_id(one.id, step.channel, target.device_id),
                one.created_at,
                one.id,
                one.user_id,
                step.channel,
                target.device_id,
            )
            for target in targets
        ],
    )
    rows = await conn.fetch(
        "UPDATE deliveries SET status = 'sending', attempts = attempts + 1, lease_until = $3,"
        " updated_at = $4 WHERE notification_id = $1 AND channel = $2 AND (status = 'queued'"
        " OR status = 'sending' AND lease_until <= $4) RETURNING id, attempts, device_id",
        one.id,
        step.channel,
        d.now() + timedelta(seconds=lease_s),
        d.now(),
    )
    if not rows:
        return None
    after = {} if step.after_s is None else {"afterS": step.after_s}
    if any(row["attempts"] == 1 for row in rows):  # further tries are no further decision
        await _decide(d, conn, case, step.channel, Verdict.TOLD, step.cause, after)
    by_device = {target.device_id: target for target in targets}
    claimed = [
        Claimed(row["id"], row["attempts"], row["device_id"], by_device.get(row["device_id"]))
        for row in rows
    ]
    return await order_of(conn, case, step, claimed)


async def settle(
    d: Domain,
    order: Order,
    target: Target,
    status: DeliveryStatus,
    *,
    reason: Reason | None = None,
    error_code: str | None = None,
    provider_message_id: str | None = None,
    last: bool = False,
) -> bool:
    """Write what came of one try; `queued` means it is to be tried again.

    It touches only what is still what was sent to. A dead token disables its device unless it was
    registered again meanwhile, a dead mailbox is suppressed as the address it was; where the device
    or the person's address has changed, false is returned, and unless this was the `last` try the
    row waits for another one. A row that somebody else claimed meanwhile is left alone; but what
    was sent stays sent, even if the row was withheld while the provider had it.
    """
    async with d.outbox.change() as change:
        conn = change.conn
        still = reason not in _DEAD or await _is_still(conn, order, target)
        await _give_up(d, conn, order, target, reason, still=still)
        if not still:
            status, reason = DeliveryStatus.FAILED if last else DeliveryStatus.QUEUED, None
        ours = await conn.fetchval(
            "UPDATE deliveries SET status = $3, reason = $4, error_code = $5,"
            " provider_message_id = coalesce($6, provider_message_id), lease_until = NULL,"
            " updated_at = $7 WHERE id = $1 AND created_at = $2"
            " AND (status = 'sending' AND attempts = $8 OR $3 = 'sent') RETURNING id",
            target.id,
            order.created_at,
            status,
            reason,
            error_code,
            provider_message_id,
            d.now(),
            target.attempts,
        )
        if ours is not None and status not in (DeliveryStatus.SENT, DeliveryStatus.QUEUED):
            await _explain(d, conn, order, status, reason, error_code)
        if status is DeliveryStatus.SENT:
            _tell_services(d, change, order)
            if order.channel is Channel.PUSH:
                await _take_back_if_over(change, order)
    if ours is not None:
        DELIVERIES.labels(channel=order.channel, status=status, reason=reason or "").inc()
    return still


def _tell_services(d: Domain, change: Change, order: Order) -> None:
    event = NotificationDelivered(
        notification_id=str(order.notification_id),
        user_id=order.user_id,
        channel=order.channel,
        at=d.now(),
    )
    told = outgoing(d, "notification.delivered", event)
    change.leave(f"notification:{order.notification_id}", told)


async def _take_back_if_over(change: Change, order: Order) -> None:
    """It was answered, read or deleted while the provider had the push: nobody else would clear
    the phone, for its row did not say sent."""
    over = await change.conn.fetchval(
        "SELECT true FROM notifications WHERE id = $1 AND created_at = $2"
        " AND coalesce(retracted_at, seen_at, read_at, deleted_at) IS NOT NULL",
        order.notification_id,
        order.created_at,
    )
    if over:
        id = str(order.notification_id)
        change.enqueue(push_retract_job(id, order.created_at, urgent=order.urgent))


async def _give_up(
    d: Domain, conn: Connection, order: Order, target: Target, reason: Reason | None, *, still: bool
) -> None:
    """What a provider called dead is not asked for again: the address, the device or the key."""
    if reason is Reason.ADDRESS_SUPPRESSED and target.address:
        await suppress(conn, target.address, "bounce", d.now())
    if reason is Reason.TOKEN_DEAD and still:
        await conn.execute(
            "UPDATE devices SET disabled_at = $2, disabled_reason = 'token_dead'"
            " WHERE id = $1 AND disabled_at IS NULL",
            target.device_id,
            d.now(),
        )
    if reason is Reason.TOKEN_DEAD and order.channel is Channel.KAKAO:
        await conn.execute(
            "UPDATE users SET kakao_user_key = NULL WHERE id = $1 AND kakao_user_key = $2",
            order.user_id,
            target.address,
        )


_DEAD: Final = (Reason.TOKEN_DEAD, Reason.ADDRESS_SUPPRESSED)


async def _is_still(conn: Connection, order: Order, target: Target) -> bool:
    """Whether the device is registered as it was when it was sent to, or the person still has this
    address. A device that another outcome has disabled since counts as the same."""
    if order.channel is Channel.KAKAO:
        key = await conn.fetchval("SELECT kakao_user_key FROM users WHERE id = $1", order.user_id)
        return bool(key == target.address)
    if order.channel is Channel.EMAIL:
        email = await conn.fetchval("SELECT email FROM users WHERE id = $1", order.user_id)
        return comparison_key(email or "") == comparison_key(target.address)
    registered_at = await conn.fetchval(
        "SELECT last_seen_at FROM devices WHERE id = $1 AND user_id = $2 FOR UPDATE",
        target.device_id,
        order.user_id,
    )
    return registered_at is not None and registered_at == target.registered_at


async def follow_up(d: Domain, order: Order) -> None:
    """After a channel is settled: look at once what comes next (a mail's time, or nothing)."""
    async with d.outbox.change() as change:
        change.enqueue(
            unseen_check(
                str(order.notification_id), order.created_at, delay_s=0, urgent=order.urgent
            )
        )


async def _explain(
    d: Domain,
    conn: Connection,
    order: Order,
    status: DeliveryStatus,
    reason: Reason | None,
    error_code: str | None,
) -> None:
    """What ended badly at the provider: its code stands in the detail."""
    verdict = Verdict.FAILED
    if reason is not None and status is not DeliveryStatus.FAILED:
        verdict = verdict_of(reason)
    decision = Decision(
        order.user_id,
        verdict,
        reason or Cause.PROVIDER_REFUSED,
        order.question_id,
        order.notification_id,
        order.channel,
        {"errorCode": error_code} if error_code else {},
    )
    await record(conn, d.now(), [decision])


async def _decide(
    d: Domain,
    conn: Connection,
    case: Case,
    channel: Channel,
    verdict: Verdict,
    reason: Reason | Cause,
    detail: Mapping[str, Any] | None = None,
) -> None:
    one = case.notification
    decision = Decision(
        one.user_id, verdict, reason, one.question_id, one.id, channel, detail or {}
    )
    await record(conn, d.now(), [decision])
