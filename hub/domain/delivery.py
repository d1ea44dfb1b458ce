"""Deliveries: what was tried on which channel, claimed before it is sent and settled after.

The senders live in `workers`; here stand the facts, the claim and the record. A `deliveries` row is
written before the provider is called and updated after, so a crash in between leaves a trace and
the next try finds the same row.
"""

from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID, uuid4, uuid5

from hub.domain.context import Domain
from hub.domain.inbox import DIGEST_KIND, UNREAD, URGENT_KIND
from hub.domain.orders import Order, Target, addressees, order_of
from hub.domain.rules import (
    Delivery,
    Done,
    Facts,
    Reason,
    Send,
    Suppress,
    Timers,
    Wait,
    next_step,
)
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, to_json
from hub.plumbing.telemetry.metrics import DELIVERIES
from protocol.jobs import Channel, delivery_job, unseen_check
from protocol.mail_address import comparison_key


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
        row = await _load(change.conn, notification_id, created_at, d.now())
        if row is None:
            return None
        if again and channel is not None:
            await _requeue(change.conn, notification_id, channel)
        while True:
            facts = await _facts(d, change.conn, row)
            step = next_step(facts, d.now())
            if isinstance(step, Done):
                return None
            if isinstance(step, Suppress):
                await _suppress(d, change.conn, row, step)
                continue
            if isinstance(step, Wait):
                _check_again(d, change, row, step.until)
                return None
            if step.channel != channel:
                _hand_over(change, row, step)
                return None
            if withhold is not None:
                await _suppress(d, change.conn, row, Suppress(step.channel, withhold))
                continue
            return await _claim(d, change.conn, row, step, lease_s)


async def _load(
    conn: Connection, notification_id: UUID, created_at: datetime, now: datetime
) -> Row | None:
    """The notification, locked: two jobs for it follow the rules one after the other."""
    return await conn.fetchrow(
        "SELECT n.*, u.email, u.kakao_user_key, u.locale, u.timezone,"  # noqa: S608 - a constant
        " u.deleted_at AS user_deleted_at, p.push_enabled, p.kakao_enabled, p.email_enabled,"
        " p.urgent_enabled, p.answer_enabled, p.digest_enabled,"
        " q.status AS question_status, q.first_answer_at, q.deadline_at,"
        f" {UNREAD.format(now='$3')} AS unread"
        " FROM notifications n JOIN users u ON u.id = n.user_id"
        " JOIN notification_preferences p ON p.user_id = u.id"
        " JOIN inbox_heads h ON h.user_id = u.id LEFT JOIN questions q ON q.id = n.question_id"
        " WHERE n.id = $1 AND n.created_at = $2 FOR UPDATE OF n",
        notification_id,
        created_at,
        now,
    )


async def _requeue(conn: Connection, notification_id: UUID, channel: Channel) -> None:
    await conn.execute(
        "UPDATE deliveries SET status = 'queued' WHERE notification_id = $1 AND channel = $2"
        " AND status = 'failed' AND reason IS NULL",
        notification_id,
        channel,
    )


async def _facts(d: Domain, conn: Connection, row: Row) -> Facts:
    tried = await conn.fetch(
        "SELECT channel, status, lease_until FROM deliveries WHERE notification_id = $1", row["id"]
    )
    reach = await conn.fetchrow(
        "SELECT EXISTS (SELECT FROM devices WHERE user_id = $1 AND disabled_at IS NULL) AS device,"
        " EXISTS (SELECT FROM suppressions WHERE address = $2) AS suppressed",
        row["user_id"],
        comparison_key(row["email"] or ""),
    )
    assert reach is not None
    urgent, policy = row["kind"] == URGENT_KIND, d.policy
    return Facts(
        urgent=urgent,
        created_at=row["created_at"],
        timers=Timers(policy.unseen_push_urgent_s, policy.unseen_email_urgent_s)
        if urgent
        else Timers(policy.unseen_push_s, policy.unseen_email_s),
        acknowledged=row["acknowledged_at"] is not None,
        seen=row["seen_at"] is not None or row["read_at"] is not None,
        gone=any(row[name] for name in ("deleted_at", "retracted_at", "user_deleted_at")),
        question_status=row["question_status"],
        question_answered=row["first_answer_at"] is not None,
        deadline_at=row["deadline_at"] if urgent else row["expires_at"],
        had_socket=any(one["channel"] == "socket" for one in tried),
        only="email" if row["kind"] == DIGEST_KIND else None,
        topic_on=_topic_on(row),
        push_on=row["push_enabled"],
        kakao_on=row["kakao_enabled"],
        email_on=row["email_enabled"],
        has_device=reach["device"],
        has_kakao=bool(row["kakao_user_key"]),
        has_address=bool(row["email"]),
        address_suppressed=reach["suppressed"],
        deliveries=[Delivery(one["channel"], one["status"], one["lease_until"]) for one in tried],
    )


def _topic_on(row: Row) -> bool:
    if row["kind"] == URGENT_KIND:
        return bool(row["urgent_enabled"])
    if row["kind"] == DIGEST_KIND:
        return bool(row["digest_enabled"])
    return bool(row["answer_enabled"]) or not row["kind"].startswith("answer_")


def _check_again(d: Domain, change: Change, row: Row, until: datetime) -> None:
    delay = max(0.0, (until - d.now()).total_seconds())
    urgent = row["kind"] == URGENT_KIND
    change.enqueue(unseen_check(str(row["id"]), row["created_at"], delay_s=delay, urgent=urgent))


def _hand_over(change: Change, row: Row, step: Send) -> None:
    urgent, bulk = row["kind"] == URGENT_KIND, row["kind"] == DIGEST_KIND
    job = delivery_job(step.channel, str(row["id"]), row["created_at"], urgent=urgent, bulk=bulk)
    change.enqueue(job)


async def _suppress(d: Domain, conn: Connection, row: Row, step: Suppress) -> None:
    """Withhold a whole channel: what was queued ends, or one row says why there was none."""
    status = "expired" if step.reason is Reason.EXPIRED else "suppressed"
    changed = await conn.fetch(
        "UPDATE deliveries SET status = $3, reason = $4, lease_until = NULL, updated_at = $5"
        " WHERE notification_id = $1 AND channel = $2 AND status IN ('queued', 'sending')"
        " RETURNING id",
        row["id"],
        step.channel,
        status,
        step.reason.value,
        d.now(),
    )
    if not changed:
        await conn.execute(
            "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status,"
            " reason) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            delivery_id(row["id"], step.channel, None),
            row["created_at"],
            row["id"],
            row["user_id"],
            step.channel,
            status,
            step.reason.value,
        )
    DELIVERIES.labels(channel=step.channel, status=status, reason=step.reason.value).inc()
    verdict = "expired" if status == "expired" else "suppressed"
    await _decide(d, conn, row, step.channel, verdict, step.reason.value)


def delivery_id(notification_id: UUID, channel: str, device_id: UUID | None) -> UUID:
    """The same for every try, so that a second one finds the row of the first."""
    return uuid5(notification_id, f"{channel}:{device_id or ''}")


async def _claim(d: Domain, conn: Connection, row: Row, step: Send, lease_s: float) -> Order | None:
    targets = await addressees(conn, row, step.channel)
    for target in targets:
        await conn.execute(
            "INSERT INTO deliveries (id, created_at, notification_id, user_id, channel, status,"
            " device_id) VALUES ($1, $2, $3, $4, $5, 'queued', $6) ON CONFLICT DO NOTHING",
            delivery_id(row["id"], step.channel, target["device_id"]),
            row["created_at"],
            row["id"],
            row["user_id"],
            step.channel,
            target["device_id"],
        )
    claimed = await conn.fetch(
        "UPDATE deliveries SET status = 'sending', attempts = attempts + 1, lease_until = $3,"
        " updated_at = $4 WHERE notification_id = $1 AND channel = $2 AND (status = 'queued'"
        " OR status = 'sending' AND lease_until <= $4) RETURNING id, attempts, device_id",
        row["id"],
        step.channel,
        d.now() + timedelta(seconds=lease_s),
        d.now(),
    )
    if not claimed:
        return None
    if any(one["attempts"] == 1 for one in claimed):  # further tries are no further decision
        await _decide(d, conn, row, step.channel, "told", step.reason)
    by_device = {target["device_id"]: target for target in targets}
    return await order_of(
        conn, row, step, [(one, by_device.get(one["device_id"])) for one in claimed]
    )


Status = Literal["sent", "queued", "failed", "suppressed", "expired"]


async def settle(
    d: Domain,
    order: Order,
    target: Target,
    status: Status,
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
        if reason is Reason.ADDRESS_SUPPRESSED and target.address:
            await conn.execute(
                "INSERT INTO suppressions (address, reason) VALUES ($1, 'bounce')"
                " ON CONFLICT DO NOTHING",
                comparison_key(target.address),
            )
        if reason is Reason.TOKEN_DEAD and still:
            await conn.execute(
                "UPDATE devices SET disabled_at = $2, disabled_reason = 'token_dead'"
                " WHERE id = $1 AND disabled_at IS NULL",
                target.device_id,
                d.now(),
            )
        if reason is Reason.TOKEN_DEAD and order.channel == "kakao":
            await conn.execute(
                "UPDATE users SET kakao_user_key = NULL WHERE id = $1 AND kakao_user_key = $2",
                order.user_id,
                target.address,
            )
        if not still:
            status, reason = "failed" if last else "queued", None
        ours = await conn.fetchval(
            "UPDATE deliveries SET status = $3, reason = $4, error_code = $5,"
            " provider_message_id = coalesce($6, provider_message_id), lease_until = NULL,"
            " updated_at = $7 WHERE id = $1 AND created_at = $2"
            " AND (status = 'sending' AND attempts = $8 OR $3 = 'sent') RETURNING id",
            target.id,
            order.created_at,
            status,
            reason.value if reason else None,
            error_code,
            provider_message_id,
            d.now(),
            target.attempts,
        )
        if ours is not None and status not in ("sent", "queued"):
            await _explain(d, conn, order, status, reason, error_code)
    if ours is not None:
        label = reason.value if reason else ""
        DELIVERIES.labels(channel=order.channel, status=status, reason=label).inc()
    return still


_DEAD: Final = (Reason.TOKEN_DEAD, Reason.ADDRESS_SUPPRESSED)


async def _is_still(conn: Connection, order: Order, target: Target) -> bool:
    """Whether the device is registered as it was when it was sent to, or the person still has this
    address. A device that another outcome has disabled since counts as the same."""
    if order.channel == "kakao":
        key = await conn.fetchval("SELECT kakao_user_key FROM users WHERE id = $1", order.user_id)
        return bool(key == target.address)
    if order.channel == "email":
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
    status: Status,
    reason: Reason | None,
    error_code: str | None,
) -> None:
    await _insert_decision(
        d,
        conn,
        (order.user_id, order.question_id, order.notification_id, order.channel),
        "failed" if status == "failed" else status,
        reason.value if reason else "failed",
        {"errorCode": error_code} if error_code else {},
    )


async def _decide(
    d: Domain, conn: Connection, row: Row, channel: Channel, verdict: str, reason: str
) -> None:
    who = (row["user_id"], row["question_id"], row["id"], channel)
    await _insert_decision(d, conn, who, verdict, reason, {})


async def _insert_decision(
    d: Domain,
    conn: Connection,
    who: tuple[str, str | None, UUID, str],
    verdict: str,
    reason: str,
    detail: dict[str, Any],
) -> None:
    await conn.execute(
        "INSERT INTO decisions (id, created_at, user_id, question_id, notification_id, channel,"
        " verdict, reason, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        uuid4(),
        d.now(),
        *who,
        verdict,
        reason,
        to_json(detail),
    )
