"""Mail addresses: one reading for the door, for sending and for comparing.

RFC 5321 §4.1.2 and §4.5.3.1 for forms and lengths, RFC 6531 for local parts that are not ASCII,
IDNA2008 (RFC 5891, mapped as UTS #46 says) for domains. Address literals are refused.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import idna

_ATEXT: Final = r"[^\s\x00-\x20\x7f<>()\[\]\\,;:\"@.]+"
_DOT_ATOM: Final = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DOMAIN: Final = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*\.?")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
MAX_LOCAL: Final = 64
MAX_ADDRESS: Final = 254
"""A path has 256 octets, with its angle brackets."""


class BadAddress(ValueError):
    """No mail can be sent to, or from, this text. The text itself is not repeated here."""


@dataclass(frozen=True, slots=True)
class Address:
    """`local` as it is written in a command, quoted only where it must be; `domain` in ASCII."""

    local: str
    domain: str
    name: str = ""

    @property
    def mailbox(self) -> str:
        """`local@domain`, the form mail is sent to."""
        return f"{self.local}@{self.domain}"

    @property
    def key(self) -> str:
        """What two spellings of one mailbox have in common.

        By the letter of RFC 5321 a local part may know cases; no provider people use tells two
        mailboxes apart by them, and mailing a dead one again costs more.
        """
        return f"{unicodedata.normalize('NFKC', self.local).lower()}@{self.domain}"


def read_address(text: str) -> Address:
    """`a@b`, `<a@b>` or `Name <a@b>`, with blanks around it. Raises BadAddress."""
    text = text.strip()
    if len(text) > 512 or not text.isprintable():
        raise BadAddress("mail address with control characters, or too long")
    name, given = _name_and_address(text)
    local, at, domain = given.rpartition("@")
    if not at:
        raise BadAddress("not a mail address")
    address = Address(_local(local), _domain(domain), name)
    if len(address.local.encode()) > MAX_LOCAL or len(address.mailbox.encode()) > MAX_ADDRESS:
        raise BadAddress("mail address too long")
    return address


def normal_form(text: str) -> str:
    """The address as it is kept: `local@domain`; a text that is no address stays as it is."""
    try:
        return read_address(text).mailbox
    except BadAddress:
        return text


def comparison_key(text: str) -> str:
    """Equal for all spellings of one mailbox; a text that is no address is compared as it is."""
    try:
        return read_address(text).key
    except BadAddress:
        return text.strip().lower()


def _name_and_address(text: str) -> tuple[str, str]:
    """One address only: a list, or brackets that do not close, is none."""
    if not text.endswith(">"):
        return "", text
    before, bracket, given = text[:-1].rpartition("<")
    name = before.strip()
    quoted = _QUOTED.fullmatch(name)
    if quoted is not None:
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    elif set(name) & set('<>,;"@'):
        raise BadAddress("more than one mail address")
    if not bracket:
        raise BadAddress("not a mail address")
    return name, given


def _local(text: str) -> str:
    """Quotes that are not needed go: `"kim"@b` and `kim@b` are the same mailbox."""
    text = unicodedata.normalize("NFC", text)
    quoted = _QUOTED.fullmatch(text)
    plain = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if _DOT_ATOM.fullmatch(plain):
        return plain
    if quoted is None or not plain:
        raise BadAddress("not a mail address")
    return '"' + re.sub(r'(["\\])', r"\\\1", plain) + '"'


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(unicodedata.normalize("NFKC", text)):
        raise BadAddress("not a mail address")
    domain = text.lower().removesuffix(".")
    if not domain.isascii() or "xn--" in domain:
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii").removesuffix(".")
        except (idna.IDNAError, UnicodeError):
            raise BadAddress("not a mail domain") from None
    if not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise BadAddress("not a mail domain")
    return domain
