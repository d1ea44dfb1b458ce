"""From an order to the provider and back: every target is sent to and settled by itself."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from hub.domain.context import Domain
from hub.domain.notifications import delivery
from hub.domain.notifications.orders import Order, Target
from hub.domain.rules.kinds import CHANNELS, Channel
from hub.domain.rules.reasons import Reason
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.telemetry.metrics import PROVIDER_DURATION
from hub.plumbing.telemetry.trace import outgoing_headers
from workers.attempt import Attempt, GaveUp, TryAgain
from workers.providers import Senders
from workers.senders import (
    Expired,
    Gone,
    MailMessage,
    NotConfigured,
    Outcome,
    Permanent,
    PushMessage,
    Sent,
    Temporary,
)
from workers.templates.mails import render_mail

URGENT_PUSH_S: Final = 15.0
"""An urgent push that no try can hand over by then leaves the field to the next channel."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is written about one try; `again_s`: when the next one is due.

    `gave_up`: a later try might have passed, but there is none left.
    """

    status: DeliveryStatus
    reason: Reason | None = None
    error_code: str | None = None
    provider_message_id: str | None = None
    again_s: float = 0.0
    gave_up: bool = False


async def deliver(d: Domain, senders: Senders, order: Order, this: Attempt) -> str:
    """Send to all targets at once, settle each as its answer comes; `done` or `expired`.

    Raises TryAgain when a target is to be tried again, GaveUp after the last try.
    """
    results = await asyncio.gather(
        *(_deliver_to(d, senders, order, target, this) for target in order.targets),
        return_exceptions=True,
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    verdicts = [result for result in results if isinstance(result, Verdict)]
    waiting = [verdict for verdict in verdicts if verdict.status is DeliveryStatus.QUEUED]
    if waiting:
        longest = max(waiting, key=lambda verdict: verdict.again_s)
        raise TryAgain(longest.error_code or "", longest.again_s)
    if order.channel is Channel.PUSH:
        await delivery.follow_up(d, order)
    lost = next((verdict for verdict in verdicts if verdict.gave_up), None)
    if lost is not None:
        raise GaveUp(lost.error_code)
    return (
        "expired"
        if all(verdict.status is DeliveryStatus.EXPIRED for verdict in verdicts)
        else "done"
    )


async def _deliver_to(
    d: Domain, senders: Senders, order: Order, target: Target, this: Attempt
) -> Verdict:
    if order.channel is Channel.PUSH:
        outcome = await _push(d, senders, order, target)
    else:
        outcome = await _mail(d, senders, order, target)
    verdict = judge(d, order, outcome, this)
    still = await delivery.settle(
        d,
        order,
        target,
        verdict.status,
        reason=verdict.reason,
        error_code=verdict.error_code,
        provider_message_id=verdict.provider_message_id,
        last=this.last,
    )
    if still:
        return verdict
    status = DeliveryStatus.FAILED if this.last else DeliveryStatus.QUEUED
    return Verdict(status, None, verdict.error_code, again_s=this.retry_s, gave_up=this.last)


def judge(d: Domain, order: Order, outcome: Outcome, this: Attempt) -> Verdict:
    """What an outcome means for the row."""
    match outcome:
        case Sent(id):
            return Verdict(DeliveryStatus.SENT, provider_message_id=id or None)
        case Temporary(code, wait):
            again_s = max(this.retry_s, wait or 0.0)
            if _worth_a_retry(d, order, this, again_s):
                return Verdict(DeliveryStatus.QUEUED, error_code=code, again_s=again_s)
            return Verdict(DeliveryStatus.FAILED, error_code=code, gave_up=this.last)
        case Permanent(code, token_dead):
            dead = Reason.TOKEN_DEAD if order.channel is Channel.PUSH else Reason.ADDRESS_SUPPRESSED
            return Verdict(DeliveryStatus.FAILED, dead if token_dead else None, code)
        case Gone(code):
            return Verdict(DeliveryStatus.SUPPRESSED, Reason.NO_DEVICE, code)
        case Expired():
            return Verdict(DeliveryStatus.EXPIRED, Reason.EXPIRED)
        case NotConfigured():
            return Verdict(DeliveryStatus.SUPPRESSED, Reason.NOT_CONFIGURED)


def _worth_a_retry(d: Domain, order: Order, this: Attempt, again_s: float) -> bool:
    then = d.now() + timedelta(seconds=again_s)
    if this.last:
        return False
    patience = timedelta(seconds=URGENT_PUSH_S)
    if order.urgent and order.channel is Channel.PUSH and then > this.made_at + patience:
        return False
    if order.deadline_at is None:
        return True
    needs = CHANNELS[order.channel].least_left if order.urgent else timedelta(0)
    return then + max(needs, timedelta(seconds=1)) <= order.deadline_at


async def _push(d: Domain, senders: Senders, order: Order, target: Target) -> Outcome:
    if target.platform == "web":
        return NotConfigured()
    if not target.address:
        return Gone()
    message = push_message(order, target, d.policy.public_base_url)

    async def send() -> Outcome:
        return await senders.push.send(target.address, message, headers=outgoing_headers())

    with PROVIDER_DURATION.labels(provider="fcm").time():
        outcome = await senders.push_breaker.call(send)
    senders.push_refusals.note(outcome)
    return outcome


async def _mail(d: Domain, senders: Senders, order: Order, target: Target) -> Outcome:
    message = mail_message(d, order, target)
    with PROVIDER_DURATION.labels(provider="smtp").time():
        outcome = await senders.mail_breaker.call(lambda: senders.mail.send(message))
    senders.mail_refusals.note(outcome)
    return outcome


def push_message(order: Order, target: Target, base_url: str) -> PushMessage:
    return PushMessage(
        notification_id=str(order.notification_id),
        kind=order.kind,
        title=target.title,
        body=target.body,
        unread=order.unread,
        url=link(order, base_url),
        collapse_id=order.collapse_id,
        created_at=order.created_at,
        question_id=order.question_id,
        answer_id=order.answer_id,
        deadline_at=order.deadline_at,
    )


def mail_message(d: Domain, order: Order, target: Target) -> MailMessage:
    url = link(order, d.policy.public_base_url)
    deadline_at = order.deadline_at if order.urgent else None
    words = render_mail(
        order.kind,
        target.locale,
        title=target.title,
        body=target.body,
        url=url,
        now=d.now(),
        created_at=order.created_at,
        deadline_at=deadline_at,
        timezone=order.timezone,
    )
    return MailMessage(
        notification_id=str(order.notification_id),
        to=target.address,
        locale=target.locale,
        subject=words.subject,
        text=words.text,
        html=words.html,
        message_id=str(target.id),
        deadline_at=deadline_at,
    )


def link(order: Order, base_url: str) -> str:
    """Where a tap leads: the question, or the inbox; a path alone where no base is configured.

    An id is another service's text, and one segment of the path (RFC 3986 §3.3).
    """
    path = f"/questions/{quote(order.question_id, safe='')}" if order.question_id else "/inbox"
    return base_url.rstrip("/") + path
