"""From an order to the provider and back: every target is sent to and settled by itself."""

import asyncio
from datetime import timedelta
from typing import Final, NamedTuple
from urllib.parse import quote

from msgspec import Struct

from hub.domain.context import Domain
from hub.domain.notifications import delivery
from hub.domain.notifications.delivery import Handed
from hub.domain.notifications.orders import Order, Target
from hub.domain.notifications.steps import Look
from hub.domain.notifications.suppressions import link_of
from hub.domain.rules.kinds import CHANNELS, Channel, kind_of
from hub.domain.rules.reasons import Reason
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.telemetry.trace import current
from workers.books import Books
from workers.channels.message import Message, Recipient
from workers.channels.outcome import (
    Blocked,
    Expired,
    Gone,
    NotConfigured,
    Outcome,
    Permanent,
    Sent,
    Temporary,
)
from workers.channels.provider import Providers
from workers.ending import UNASKED, Again, Attempt, Done, Ending, Held, ending_of

URGENT_PUSH_S: Final = 15.0
"""An urgent push that no try can hand over by then leaves the field to the next channel."""


DONE: Final = Done()


class Verdict(Struct, frozen=True):
    """What is written about one try, and what it asks of the job."""

    status: DeliveryStatus
    reason: Reason | None = None
    error_code: str | None = None
    provider_message_id: str | None = None
    ending: Ending = DONE


class Tried(NamedTuple):
    """`followed`: the job that looks what comes next is enqueued."""

    ending: Ending
    followed: bool = False


async def deliver(books: Books, providers: Providers, order: Order, this: Attempt) -> Ending:
    """Send to all targets at once, settle each as its answer comes, and look at once what comes
    next (a mail's time, or nothing), where that is not known."""
    if len(order.targets) == 1:
        ending, followed = await _deliver_to(books, providers, order, order.targets[0], this)
    else:
        results = await asyncio.gather(
            *(_deliver_to(books, providers, order, target, this) for target in order.targets),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        tried = [result for result in results if not isinstance(result, BaseException)]
        ending, followed = ending_of(one.ending for one in tried), False
    if not isinstance(ending, Again) and not _is_last(order) and not followed:
        await books.take_steps(Look(order.notification_id, order.created_at, trace=current()))
    return ending


async def _deliver_to(
    books: Books, providers: Providers, order: Order, target: Target, this: Attempt
) -> Tried:
    d = books.domain
    outcome = await _send(d, providers, order, target)
    verdict = judge(d, order, outcome, this)
    if verdict.status is DeliveryStatus.SENT:
        alone = len(order.targets) == 1
        check_at = order.check_at if alone else None
        handed = Handed(order, target, verdict.provider_message_id, check_at, current())
        return Tried(verdict.ending, await books.settle_sent(handed))
    still = await delivery.settle(
        d,
        order,
        target,
        verdict.status,
        reason=verdict.reason,
        error_code=verdict.error_code,
        last=this.last,
    )
    if still:
        return Tried(verdict.ending)
    why = verdict.error_code or ""
    return Tried(Held(why) if this.last else Again(this.retry_s, why))


async def _send(d: Domain, providers: Providers, order: Order, target: Target) -> Outcome:
    if not target.address:
        return Gone()
    to = Recipient(target.address, target.platform, target.environment, target.registered_at)
    provider = providers.serving(order.channel, to)
    if provider is None:
        return NotConfigured()
    return await provider.send(to, message_of(d, order, target))


def judge(d: Domain, order: Order, outcome: Outcome, this: Attempt) -> Verdict:
    """What an outcome means for the row, and for the job."""
    match outcome:
        case Sent(id):
            return Verdict(DeliveryStatus.SENT, provider_message_id=id or None)
        case Blocked(seconds, code):
            if _too_late(d, order, seconds):
                return _expired(code, asked=False)
            if _waits(d, order, this, seconds):
                return Verdict(DeliveryStatus.QUEUED, ending=Again(seconds, code, counts=False))
            return Verdict(DeliveryStatus.SUPPRESSED, Reason.BREAKER_OPEN, ending=UNASKED)
        case Temporary(code, wait):
            again_s = max(this.retry_s, wait or 0.0)
            if _too_late(d, order, again_s):
                return _expired(code)
            if not this.last and _waits(d, order, this, again_s):
                return Verdict(DeliveryStatus.QUEUED, error_code=code, ending=Again(again_s, code))
            ending: Ending = Held(code) if this.last else Done()
            return Verdict(DeliveryStatus.FAILED, error_code=code, ending=ending)
        case Permanent(code, token_dead):
            dead = (
                Reason.ADDRESS_SUPPRESSED if order.channel is Channel.EMAIL else Reason.TOKEN_DEAD
            )
            return Verdict(DeliveryStatus.FAILED, dead if token_dead else None, code)
        case Gone(code):
            return Verdict(DeliveryStatus.SUPPRESSED, Reason.NO_DEVICE, code, ending=UNASKED)
        case Expired():
            return _expired(asked=False)
        case NotConfigured():
            return Verdict(DeliveryStatus.SUPPRESSED, Reason.NOT_CONFIGURED, ending=UNASKED)


def _waits(d: Domain, order: Order, this: Attempt, seconds: float) -> bool:
    """Whether there is patience for it: an urgent push leaves the field to the next channel."""
    if not order.urgent or _is_last(order):
        return True
    return d.now() + timedelta(seconds=seconds) <= this.made_at + timedelta(seconds=URGENT_PUSH_S)


def _too_late(d: Domain, order: Order, seconds: float) -> bool:
    """Whether the deadline comes before another try can: what stood in the way is told with it."""
    if order.deadline_at is None:
        return False
    needs = CHANNELS[order.channel].least_left if order.urgent else timedelta(0)
    then = d.now() + timedelta(seconds=seconds)
    return then + max(needs, timedelta(seconds=1)) > order.deadline_at


def _expired(code: str | None = None, *, asked: bool = True) -> Verdict:
    ending = Done("expired", asked=asked)
    return Verdict(DeliveryStatus.EXPIRED, Reason.EXPIRED, code, ending=ending)


def _is_last(order: Order) -> bool:
    """Whether no other channel of its kind comes after this one."""
    return order.channel is kind_of(order.kind).channels[-1]


def message_of(d: Domain, order: Order, target: Target) -> Message:
    base_url, unsubscribe_url = d.policy.public_base_url, None
    if order.channel is Channel.EMAIL:
        unsubscribe_url = link_of(d.link_secret, base_url, order.user_id, order.kind)
    return Message(
        notification_id=str(order.notification_id),
        delivery_id=str(target.id),
        kind=order.kind,
        locale=target.locale,
        title=target.title,
        body=target.body,
        unread=order.unread,
        url=link_to(order.question_id, base_url),
        collapse_id=order.collapse_id,
        created_at=order.created_at,
        question_id=order.question_id,
        answer_id=order.answer_id,
        deadline_at=order.deadline_at,
        urgent=order.urgent,
        timezone=order.timezone,
        unsubscribe_url=unsubscribe_url,
        data=order.data,
    )


def link_to(question_id: str | None, base_url: str) -> str:
    """Where a tap leads: the question, or the inbox; a path alone where no base is configured.

    An id is another service's text, and one segment of the path (RFC 3986 §3.3).
    """
    path = f"/questions/{quote(question_id, safe='')}" if question_id else "/inbox"
    return base_url.rstrip("/") + path
