"""The providers of one worker: who sends what, each behind its own breaker."""

from dataclasses import dataclass

import aiohttp

from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.product import Channels
from workers.breaker import Breaker
from workers.refusals import Refusals
from workers.senders.fcm import DEFAULT_URL, FcmSender
from workers.senders.smtp import SmtpSender


@dataclass(frozen=True, slots=True)
class Senders:
    push: FcmSender
    mail: SmtpSender
    push_breaker: Breaker
    mail_breaker: Breaker
    push_refusals: Refusals
    mail_refusals: Refusals
    push_timeout_s: float
    mail_timeout_s: float


async def open_senders(life: Lifecycle, part: Channels, clock: Clock | None = None) -> Senders:
    """Raises CredentialsError or MailSettingsError when credentials are there and unusable."""
    clock = clock or SystemClock()
    push_s, mail_s = part.push_timeout_ms / 1000, part.mail_timeout_ms / 1000
    session = await life.enter("push connections", aiohttp.ClientSession())
    push = FcmSender(
        session,
        part.fcm_credentials_file,
        url=part.fcm_url or DEFAULT_URL,
        timeout_s=push_s,
        clock=clock,
    )
    life.on_stop("fcm", push.close)
    url = part.smtp_url.get_secret_value() if part.smtp_url else None
    reset_s = part.breaker_reset_ms / 1000
    return Senders(
        push=push,
        mail=SmtpSender(url, part.mail_from, timeout_s=mail_s, clock=clock),
        push_breaker=Breaker("fcm", part.breaker_errors, reset_s),
        mail_breaker=Breaker("smtp", part.breaker_errors, reset_s),
        push_refusals=Refusals("fcm"),
        mail_refusals=Refusals("smtp"),
        push_timeout_s=push_s,
        mail_timeout_s=mail_s,
    )
