"""Deliveries: what was tried on which channel, claimed before it is sent and settled after.

The senders live in `workers`; here stand the facts, the claim and the record. A `deliveries` row is
written before the provider is called and updated after, so a crash in between leaves a trace and
the next try finds the same row.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from hub.domain.context import Domain, outgoing
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.orders import Order, Target
from hub.domain.notifications.suppressions import suppress
from hub.domain.rules.kinds import Channel, Kind, kind_of
from hub.domain.rules.reasons import Cause, Reason, Verdict, verdict_of
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from hub.plumbing.telemetry.metrics import DELIVERIES
from hub.plumbing.telemetry.trace import Trace
from protocol.domain_events import NotificationDelivered
from protocol.jobs import Job, delivery_job, push_retract_job, unseen_check
from protocol.mail_address import comparison_key


def job_on(channel: Channel, id: UUID, created_at: datetime, kind: Kind) -> Job:
    """The job that sends a notification of this kind on a channel."""
    return delivery_job(channel, str(id), created_at, urgent=kind.urgent, bulk=kind.bulk)


def delivery_id(notification_id: UUID, channel: Channel, device_id: UUID | None = None) -> UUID:
    """The same for every try, so that a second one finds the row of the first."""
    return uuid5(notification_id, f"{channel}:{device_id or ''}")


def check_again(d: Domain, id: UUID, created_at: datetime, kind: Kind, until: datetime) -> Job:
    """The job that looks at a notification of this kind again."""
    delay_s = max(0.0, (until - d.now()).total_seconds())
    return unseen_check(str(id), created_at, delay_s=delay_s, urgent=kind.urgent)


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
            await _take_back_what_is_over(change, [Handed(order, target, None)])
    if ours is not None:
        DELIVERIES.labels(channel=order.channel, status=status, reason=reason or "").inc()
    return still


class Handed(Struct, frozen=True):
    """A provider has it. `check_at`: when the notification is to be looked at again, where that is
    known; `trace`: of the job that handed it over."""

    order: Order
    target: Target
    provider_message_id: str | None
    check_at: datetime | None = None
    trace: Trace | None = None

    def caused(self, job: Job) -> Job:
        return job if self.trace is None else job.caused_by(self.trace.outgoing_headers())


async def settle_sent(d: Domain, batch: Sequence[Handed]) -> list[bool]:
    """Write that they were sent, many at a time; false for a row that somebody holds just now,
    which `settle` waits for: who waits for nobody can hold many, in whatever order others do.
    """
    now = d.now()
    async with d.outbox.change() as change:
        rows = await change.conn.fetch(
            "WITH held AS (SELECT x.id, x.created_at, w.provider_message_id FROM deliveries x"
            "  JOIN unnest($1::uuid[], $2::timestamptz[], $3::text[])"
            "   AS w (id, created_at, provider_message_id)"
            "  ON x.id = w.id AND x.created_at = w.created_at FOR UPDATE OF x SKIP LOCKED)"
            " UPDATE deliveries x SET status = 'sent', reason = NULL, error_code = NULL,"
            " provider_message_id = coalesce(held.provider_message_id, x.provider_message_id),"
            " lease_until = NULL, updated_at = $4 FROM held"
            " WHERE x.id = held.id AND x.created_at = held.created_at RETURNING x.id",
            [one.target.id for one in batch],
            [one.order.created_at for one in batch],
            [one.provider_message_id for one in batch],
            now,
        )
        written = {row["id"] for row in rows}
        sent = [one for one in batch if one.target.id in written]
        for one in sent:
            _tell_services(d, change, one.order)
            if one.check_at is not None:
                order, kind = one.order, kind_of(one.order.kind)
                job = check_again(d, order.notification_id, order.created_at, kind, one.check_at)
                change.enqueue(one.caused(job))
        await _take_back_what_is_over(change, sent)
    for channel, number in Counter(one.order.channel for one in sent).items():
        DELIVERIES.labels(channel=channel, status=DeliveryStatus.SENT, reason="").inc(number)
    return [one.target.id in written for one in batch]


def _tell_services(d: Domain, change: Change, order: Order) -> None:
    event = NotificationDelivered(
        notification_id=str(order.notification_id),
        user_id=order.user_id,
        channel=order.channel,
        at=d.now(),
    )
    change.leave(outgoing(d, "notification.delivered", event))


async def _take_back_what_is_over(change: Change, sent: Sequence[Handed]) -> None:
    """It was answered, read or deleted while the provider had the push: nobody else would clear
    the phone, for its row did not say sent."""
    pushed = {one.order.notification_id: one for one in sent if one.order.channel is Channel.PUSH}
    over = await change.conn.fetch(
        "SELECT n.id FROM unnest($1::uuid[], $2::timestamptz[]) AS w (id, created_at)"
        " JOIN notifications n ON n.id = w.id AND n.created_at = w.created_at"
        " WHERE coalesce(n.retracted_at, n.seen_at, n.read_at, n.deleted_at) IS NOT NULL",
        list(pushed),
        [one.order.created_at for one in pushed.values()],
    )
    for row in over:
        one = pushed[row["id"]]
        id = str(one.order.notification_id)
        job = push_retract_job(id, one.order.created_at, urgent=one.order.urgent)
        change.enqueue(one.caused(job))


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
