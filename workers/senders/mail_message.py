"""A mail as bytes: headers that nobody's text can break, text and HTML as alternatives."""

import re
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, parseaddr
from typing import Final

from protocol.texts import one_line
from workers.senders.outcome import MailMessage

_UNFOLDED: Final = 900  # a line has 998 octets (RFC 5322 §2.1.1), and the name stands on it too
_MIME: Final = frozenset({"mime-version", "content-type", "content-transfer-encoding"})
_ATOM: Final = r"[^\s\x00-\x20\x7f<>()\[\]\\,;:\"@.]+"
_ADDRESS: Final = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_ATOM}(?:\.{_ATOM})*)")
_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
SUBJECT_CHARACTERS: Final = 200
NAME_CHARACTERS: Final = 100


class BadAddress(ValueError):
    """No mail can be sent to, or from, this text. The text itself is not repeated here."""


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

    def header(self) -> str:
        """RFC 5322 `name-addr`, the name encoded (RFC 2047) when it needs to be."""
        name = self.name[:NAME_CHARACTERS]
        if _plain(name):
            return formataddr((name, self.address), "utf-8") if name else self.address
        return f"{_encoded(name)}\r\n <{self.address}>"


def mailbox(text: str, name: str = "") -> Mailbox:
    """`a@b` or `Name <a@b>`. Quoted local parts and address literals are refused.

    Raises BadAddress.
    """
    if len(text) > 512 or not text.isprintable():
        raise BadAddress("mail address with control characters, or too long")
    shown, address = parseaddr(text) if text.endswith(">") else ("", text)
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise BadAddress("not a mail address")
    try:
        domain = found[2].encode("idna").decode("ascii")
    except UnicodeError:
        raise BadAddress("not a mail domain") from None
    if len(found[1].encode()) > 64 or len(domain) > 253:
        raise BadAddress("mail address too long")
    return Mailbox(f"{found[1]}@{domain}", one_line(name or shown))


def message_id(message: MailMessage, sender: Mailbox) -> str:
    """The same for every try of one delivery."""
    left = re.sub(r"[^A-Za-z0-9-]", "", message.message_id)
    return f"<{left}@{sender.domain}>"


def mail_bytes(message: MailMessage, sender: Mailbox, to: Mailbox, now: datetime) -> bytes:
    """The whole mail, 7-bit unless an address itself is not ASCII.

    The headers are written here and not by `email`, which decodes encoded words that somebody put
    into a subject, and encodes a long link so that no mail program can follow it.
    """
    ours = {
        "From": sender.header(),
        "To": to.header(),
        "Subject": _text(one_line(message.subject)[:SUBJECT_CHARACTERS]),
        "Date": format_datetime(now),
        "Message-ID": message_id(message, sender),
        "Auto-Submitted": "auto-generated",
        "Content-Language": _text(one_line(message.locale)),
    }
    names = {name.lower() for name in ours} | _MIME
    further = {
        name: _text(one_line(value))
        for name, value in message.headers.items()
        if _HEADER_NAME.fullmatch(name) and name.lower() not in names
    }
    lines = (f"{name}: {value}\r\n" for name, value in {**ours, **further}.items())
    return "".join(lines).encode() + _alternatives(message)


def _alternatives(message: MailMessage) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail.set_content(_body(message.text), cte="base64")
    mail.add_alternative(_body(message.html), subtype="html", cte="base64")
    return mail.as_bytes()


def _text(text: str) -> str:
    return text if _plain(text) else _encoded(text)


def _plain(text: str) -> bool:
    """Whether it can stand in a header as it is, on one line, and is read back the same."""
    return text.isascii() and "=?" not in text and len(text) < _UNFOLDED


def _encoded(text: str) -> str:
    return Header(text, "utf-8", maxlinelen=75).encode(linesep="\r\n")


def _body(text: str) -> str:
    """As it is, but for what cannot be encoded or would end the text early somewhere (NUL)."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")
