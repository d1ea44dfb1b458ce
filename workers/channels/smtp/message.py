"""A mail as bytes: headers that nobody's text can break, text and HTML as alternatives."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from typing import Final

from protocol.mail_address import read_address
from protocol.texts import language_of, one_line
from workers.channels.message import Message, Recipient
from workers.templates.mails import render_mail

_UNFOLDED: Final = 900  # a line has 998 octets (RFC 5322 §2.1.1), and the name stands on it too
_LONGEST_CHARACTER: Final = 4
_MIME: Final = frozenset({"mime-version", "content-type", "content-transfer-encoding"})
_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
SUBJECT_CHARACTERS: Final = 200
NAME_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one person, in words.

    `delivery_id` is the same for every try: `<id@domain>` is made of it. `headers` are further
    ones, such as List-Unsubscribe; those that are written here win.
    """

    to: str
    locale: str
    subject: str
    text: str
    html: str
    delivery_id: str
    to_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    deadline_at: datetime | None = None


def mail_of(to: Recipient, message: Message, now: datetime) -> Mail:
    """In the reader's language; only what is urgent has a deadline that a mail speaks of."""
    deadline_at = message.deadline_at if message.urgent else None
    words = render_mail(
        message.kind,
        message.locale,
        title=message.title,
        body=message.body,
        url=message.url,
        now=now,
        created_at=message.created_at,
        deadline_at=deadline_at,
        timezone=message.timezone,
        unsubscribe_url=message.unsubscribe_url,
    )
    return Mail(
        to=to.address,
        locale=message.locale,
        subject=words.subject,
        text=words.text,
        html=words.html,
        delivery_id=message.delivery_id,
        headers=_one_click(message.unsubscribe_url),
        deadline_at=deadline_at,
    )


def _one_click(url: str | None) -> Mapping[str, str]:
    """RFC 8058 §3: the mail program shows a button of its own."""
    if url is None:
        return {}
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """`address` has an ASCII domain; `needs_utf8` when its local part is not ASCII (RFC 6531)."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def needs_utf8(self) -> bool:
        return not self.address.isascii()

    def header(self, field: str) -> str:
        """RFC 5322 `name-addr` of a header `field`, the name encoded when it needs to be."""
        name = self.name[:NAME_CHARACTERS]
        if _plain(name):
            return formataddr((name, self.address), "utf-8") if name else self.address
        return f"{encoded_words(name, field)}\r\n <{self.address}>"


def mailbox(text: str, name: str = "") -> Mailbox:
    """`a@b` or `Name <a@b>`; `name` wins over the one in the text. Raises BadAddress."""
    found = read_address(text)
    return Mailbox(found.mailbox, one_line(name or found.name))


def message_id(mail: Mail, sender: Mailbox) -> str:
    """The same for every try of one delivery."""
    left = re.sub(r"[^A-Za-z0-9-]", "", mail.delivery_id)
    return f"<{left}@{sender.domain}>"


def mail_bytes(mail: Mail, sender: Mailbox, to: Mailbox, now: datetime) -> bytes:
    """The whole mail, 7-bit unless an address itself is not ASCII.

    The headers are written here and not by `email`, which decodes encoded words that somebody put
    into a subject, and encodes a long link so that no mail program can follow it.
    """
    ours = {
        "From": sender.header("From"),
        "To": to.header("To"),
        "Subject": _text(one_line(mail.subject)[:SUBJECT_CHARACTERS], "Subject"),
        "Date": format_datetime(now),
        "Message-ID": message_id(mail, sender),
        "Auto-Submitted": "auto-generated",
        "Content-Language": language_of(mail.locale),
    }
    names = {name.lower() for name in ours} | _MIME
    further = {
        name: _text(one_line(value), name)
        for name, value in mail.headers.items()
        if _HEADER_NAME.fullmatch(name) and name.lower() not in names
    }
    lines = (f"{name}: {value}\r\n" for name, value in {**ours, **further}.items())
    return "".join(lines).encode() + _alternatives(mail)


def _alternatives(mail: Mail) -> bytes:
    body = EmailMessage(policy=SMTP)
    body.set_content(_body(mail.text), cte="base64")
    body.add_alternative(_body(mail.html), subtype="html", cte="base64")
    return body.as_bytes()


def _text(text: str, field: str) -> str:
    return text if _plain(text) else encoded_words(text, field)


def _plain(text: str) -> bool:
    """Whether it can stand in a header as it is, on one line, and is read back the same."""
    return text.isascii() and "=?" not in text and len(text) < _UNFOLDED


def encoded_words(text: str, field: str) -> str:
    """RFC 2047 §2 and §5: no line over 76 characters, the header's name included, no word over 75,
    and no character cut in two.

    Written here because `email` counts without the header's name.
    """
    words = [bytearray()]
    room = _word_bytes(len(field) + 2)
    lead = ""
    if room < _LONGEST_CHARACTER:
        lead, room = "\r\n ", _word_bytes(1)  # the name alone fills the first line
    for character in text:
        raw = character.encode("utf-8", "replace")
        if len(words[-1]) + len(raw) > room:
            words.append(bytearray())
            room = _word_bytes(1)
        words[-1] += raw
    return lead + "\r\n ".join(f"=?utf-8?b?{b64encode(word).decode()}?=" for word in words)


def _word_bytes(before: int) -> int:
    """How many bytes one word may hold on a line that has `before` characters already."""
    return max(0, min(75, 76 - before) - len("=?utf-8?b??=")) // 4 * 3


def _body(text: str) -> str:
    """As it is, but for what cannot be encoded or would end the text early somewhere (NUL)."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")
