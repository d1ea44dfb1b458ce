"""Sends a mail through one SMTP server: a connection a mail, tried once; the queue repeats."""

import asyncio
import platform
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPException

from hub.plumbing.life.clock import Clock, SystemClock
from protocol.mail_address import BadAddress
from workers.channels.message import Message, Recipient, Sender
from workers.channels.outcome import (
    BAD_ADDRESS,
    Expired,
    Outcome,
    Permanent,
    Sent,
    seconds_left,
)
from workers.channels.smtp.answers import classify
from workers.channels.smtp.message import Mail, Mailbox, mail_bytes, mail_of, mailbox, message_id
from workers.channels.table import Opening

MIN_LEFT_S: Final = 60
"""A mail is read minutes later: with less than this before the deadline it is not sent."""
_QUIT_S: Final = 2.0
_PORTS: Final = {"smtp": 25, "smtps": 465}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class MailSettingsError(ValueError):
    """SMTP_URL or MAIL_FROM cannot be used. Never shows the URL, which holds a password."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail goes. `start_tls` None: upgraded when the server offers it."""

    host: str
    port: int
    tls: bool
    start_tls: bool | None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> "SmtpServer":
        """`smtps://` or `smtp://[user:password@]host[:port][?starttls=required]`.

        A password is never sent in the clear: with one, and a server that is not on this machine,
        STARTTLS is required anyhow, so that nobody on the way can talk us out of it.
        Raises MailSettingsError.
        """
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, parts.hostname, parts.port
        except ValueError:
            raise MailSettingsError("SMTP_URL is not a URL") from None
        if scheme not in _PORTS or not host or parts.query not in {"", "starttls=required"}:
            raise MailSettingsError("SMTP_URL must be smtp(s)://host[:port][?starttls=required]")
        secret_abroad = parts.username is not None and host not in _LOOPBACK
        must_upgrade = parts.query != "" or secret_abroad
        return cls(
            host=host,
            port=_PORTS[scheme] if port is None else port,
            tls=scheme == "smtps",
            start_tls=False if scheme == "smtps" else (must_upgrade or None),
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )


def open_sender(given: Opening) -> Sender:
    """Raises MailSettingsError when SMTP_URL or MAIL_FROM cannot be used."""
    part = given.settings
    assert part.smtp_url is not None
    return SmtpSender(
        part.smtp_url.get_secret_value(),
        part.mail_from,
        timeout_s=given.timeout_s,
        clock=given.clock,
    )


class SmtpSender:
    """Raises MailSettingsError when one of the two settings cannot be used."""

    def __init__(
        self,
        url: str,
        mail_from: str | None,
        *,
        timeout_s: float = 30.0,
        tls_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._server = SmtpServer.from_url(url)
        self._from = _sender(mail_from)
        self._timeout_s = timeout_s
        self._tls_context = tls_context
        self._clock = clock or SystemClock()

    async def close(self) -> None:
        """A connection lives as long as its mail: there is nothing to let go of."""

    async def send(self, to: Recipient, message: Message) -> Outcome:
        """Write the mail in its reader's language, and hand it over."""
        return await self.post(mail_of(to, message, self._clock.now()))

    async def post(self, mail: Mail) -> Outcome:
        """Hands one mail over as it is. Never raises for what the server or the address does."""
        left = seconds_left(mail.deadline_at, self._clock.now())
        if left is not None and left < MIN_LEFT_S:
            return Expired()
        try:
            to = mailbox(mail.to, mail.to_name)
        except BadAddress:
            return Permanent(BAD_ADDRESS)
        client = self._client(self._server)
        try:
            outcome = await self._try(client, self._from, to, mail)
            if isinstance(outcome, Sent):
                await _goodbye(client)
            return outcome
        finally:
            client.close()

    async def _try(self, client: SMTP, sender: Mailbox, to: Mailbox, mail: Mail) -> Outcome:
        """Ends with the answer to the last dot: nothing that comes after can unsend the mail."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._deliver(client, sender, to, mail)
        except (SMTPException, OSError, ValueError) as error:
            return classify(error)

    async def _deliver(self, client: SMTP, sender: Mailbox, to: Mailbox, mail: Mail) -> Outcome:
        await client.connect()
        await client.ehlo()
        utf8 = to.needs_utf8 or sender.needs_utf8
        if utf8 and not client.supports_extension("smtputf8"):
            return Permanent("smtputf8_unsupported")
        encoding = "utf-8" if utf8 else "ascii"
        options = ["BODY=8BITMIME", "SMTPUTF8"] if utf8 else []
        await client.mail(sender.address, options=options, encoding=encoding)
        await client.rcpt(to.address, encoding=encoding)
        await client.data(mail_bytes(mail, sender, to, self._clock.now()))
        return Sent(message_id(mail, sender))

    def _client(self, server: SmtpServer) -> SMTP:
        return SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            start_tls=server.start_tls,
            username=server.username,
            password=server.password,
            local_hostname=platform.node() or "localhost",
            timeout=self._timeout_s,
            tls_context=self._tls_context,
        )


async def _goodbye(client: SMTP) -> None:
    """The mail is taken: a server that says goodbye badly, or not at all, changes nothing."""
    try:
        async with asyncio.timeout(_QUIT_S):
            await client.quit()
    except (SMTPException, OSError):
        client.close()


def _sender(mail_from: str | None) -> Mailbox:
    if not mail_from:
        raise MailSettingsError("MAIL_FROM is needed with SMTP_URL")
    try:
        return mailbox(mail_from)
    except BadAddress as error:
        raise MailSettingsError(f"MAIL_FROM: {error}") from None
