"""The table of an SMTP server's answers: reply codes (RFC 5321 §4.2), enhanced ones (RFC 3463 and
the registry of RFC 5248), and, where these leave it open, the words that servers write.

A reply is about the addressee only when the server says so of the mailbox: of everything that
begins with 550 most is about us (relaying, block lists, our domain's records).
"""

import re
from enum import StrEnum
from typing import Final

from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPConnectResponseError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from workers.channels.outcome import DISCONNECTED, TIMEOUT, UNREACHABLE, Act, Outcome


class Step(StrEnum):
    """Where in the conversation the server said no."""

    CONNECT = "connect"
    GREETING = "greeting"
    """EHLO and STARTTLS."""
    LOGIN = "login"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"
    """DATA and the answer to its last dot."""


REFUSED: Final[dict[str, Act]] = {
    "1.1": Act.PRUNE,  # no such mailbox
    "1.6": Act.PRUNE,  # moved, and nobody says where to
    "1.10": Act.PRUNE,  # a null MX (RFC 7505); Exchange's word for no such mailbox
    "1.7": Act.ALARM,  # our sender's address
    "1.8": Act.ALARM,  # our sender's domain
    "3.3": Act.DROP,
    "3.4": Act.DROP,  # too big
    "7.17": Act.DROP,  # the mailbox, or its domain, is somebody else's now (RFC 7293)
    "7.18": Act.DROP,
}
"""Of class 5, without its first figure; a detail that is not here is as its subject says."""

REFUSED_SUBJECTS: Final[dict[str, Act]] = {
    "1": Act.DROP,  # an address that is wrong in another way than having no mailbox
    "2": Act.DROP,  # a mailbox that is full, disabled, too busy: it is there
    "3": Act.RETRY,  # their system
    "4": Act.DROP,  # no road to this domain
    "5": Act.ALARM,  # what we said is not SMTP to them
    "6": Act.DROP,  # this content
    "7": Act.ALARM,  # security or policy: we are not let in
}

DELAYED: Final[dict[str, Act]] = {
    "1.7": Act.ALARM,
    "1.8": Act.ALARM,
    "7.12": Act.ALARM,  # the password has to be changed first (RFC 4954)
}
DELAYED_SUBJECTS: Final[dict[str, Act]] = {
    "1": Act.PAUSE,
    "2": Act.PAUSE,
    "3": Act.RETRY,
    "4": Act.RETRY,
    "5": Act.RETRY,
    "6": Act.PAUSE,
    "7": Act.PAUSE,  # grey listing
}

PLAIN: Final[dict[int, Act]] = {
    450: Act.PAUSE,  # the mailbox is busy
    **dict.fromkeys((500, 502, 503, 504, 530, 555), Act.ALARM),  # what we said, or did not say
}
"""At an address or its content, without an enhanced code or words that say more."""

_TOO_BIG: Final = 552
_READ_CHARACTERS: Final = 1000
_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3}\.\d{1,3})(?!\S)")
_ENHANCED_LAST: Final = re.compile(r"\(#([245])\.(\d{1,3}\.\d{1,3})\)")  # as qmail writes it
_QUOTED: Final = re.compile(r"<[^<>\s]*>|\S*@\S*|\w+://\S*")

# What a server says of us, whatever code stands before it: of our address or host, and of relaying.
_US: Final = re.compile(
    r"relaying|(to|not|no|open) relay|relay( \w+)? (is )?(denied|not|prohib|refus|reject|forbid)"
    r"|sender (address )?(rejected|verif|unknown|refused|denied|not |is not )|sender verify"
    r"|helo|ehlo|client host|not owned by|bad sender|your (ip|host|server|domain|account)\b"
    r"|rcpthosts|authenticat|reverse dns|\bptr\b|\b(spf|dkim|dmarc)\b",
    re.IGNORECASE,
)
# Policy, where no enhanced code says otherwise.
_POLICY: Final = re.compile(
    r"spam|block|black ?list|deny ?list|banned|denied|reputation|polic|prohibit|not permitted"
    r"|(?<!name )not allowed|not authori[sz]ed|\b[a-z]*rbl\b|dnsbl|too many|filtered"
    r"|listed (in|at|by)",
    re.IGNORECASE,
)
_WHO: Final = r"(?:user|mailbox|recipient|addressee|account|address|person|mbox)"
_NO_MAILBOX: Final = re.compile(
    rf"no such (?:local |virtual )?{_WHO}|unknown (?:local |virtual )?{_WHO}"
    rf"|{_WHO} (?:(?:is )?unknown|(?:was |is |could )?not (?:be )?(?:found|known))"
    rf"|{_WHO}[^.;:]{{0,60}} (?:does not|doesn'?t|doesn’t) (?:exist|have an?)"
    rf"|no (?:mailbox|account|user) (?:here|by that name|with that name)"
    rf"|invalid (?:mailbox|recipient|user)\b|there is no {_WHO}",
    re.IGNORECASE,
)
_GREYLIST: Final = re.compile(r"gr[ae]y[- ]?list", re.IGNORECASE)
_FULL: Final = re.compile(rf"quota|{_WHO}[^.;:]{{0,20}} full|exceeded storage", re.IGNORECASE)


def classify(error: Exception) -> Outcome:
    """The outcome of a mail that the server did not take."""
    match error:
        case SMTPResponseException():
            enhanced = _enhanced(error)
            act = _act(error.code, enhanced, error.message, _step(error))
            return act.outcome(f"{error.code} {enhanced}" if enhanced else str(error.code))
        case TimeoutError():
            return Act.RETRY.outcome(TIMEOUT)
        case SMTPServerDisconnected():
            return Act.RETRY.outcome(DISCONNECTED)
        case SMTPNotSupported():
            return Act.ALARM.outcome("not_supported")
        case SMTPConnectError() | OSError():
            return Act.RETRY.outcome(UNREACHABLE)
        case SMTPException():  # STARTTLS is demanded and not offered
            return Act.ALARM.outcome("smtp_error")
        case _:  # no SMTP is spoken there
            return Act.RETRY.outcome("smtp_error")


def _step(error: SMTPResponseException) -> Step:
    match error:
        case SMTPConnectResponseError():
            return Step.CONNECT
        case SMTPHeloError():
            return Step.GREETING
        case SMTPAuthenticationError():
            return Step.LOGIN
        case SMTPSenderRefused():
            return Step.SENDER
        case SMTPRecipientRefused():
            return Step.RECIPIENT
        case SMTPDataError():
            return Step.CONTENT
        case _:
            return Step.GREETING


def _act(code: int, enhanced: str | None, said: str, step: Step) -> Act:
    """421, and anything that is no reply code, is the server's own trouble."""
    words = _QUOTED.sub(" ", said[:_READ_CHARACTERS])  # an address is no word of the server's
    if _US.search(words) and not _GREYLIST.search(words):
        return Act.ALARM
    if code == 421 or not 400 <= code <= 599:
        return Act.RETRY
    if code < 500:
        return _delayed(code, enhanced, words, step)
    if step in (Step.RECIPIENT, Step.CONTENT):
        return _refused(code, enhanced, words)
    return _not_let_in(code, enhanced, step)


def _delayed(code: int, enhanced: str | None, words: str, step: Step) -> Act:
    """Only at its address or its content is a mail put off for its own sake."""
    act = DELAYED.get(enhanced[2:]) if enhanced else None
    if act is not None:
        return act
    if step not in (Step.RECIPIENT, Step.CONTENT):
        return Act.RETRY
    if enhanced is not None:
        act = DELAYED_SUBJECTS.get(enhanced.split(".")[1])
    if act is None:
        of_mailbox = _GREYLIST.search(words) or _FULL.search(words) or _NO_MAILBOX.search(words)
        act = Act.PAUSE if of_mailbox else PLAIN.get(code, Act.RETRY)
    return act


def _refused(code: int, enhanced: str | None, words: str) -> Act:
    """A mail refused by its address or its content; `5.x.0` says no more than its first figure."""
    if enhanced is not None and not enhanced.endswith(".0"):
        act = REFUSED.get(enhanced[2:]) or REFUSED_SUBJECTS.get(enhanced.split(".")[1])
        if act is not None:
            return act
    if enhanced is not None and enhanced.startswith("5.7."):
        return Act.ALARM
    if _POLICY.search(words):
        return Act.ALARM
    return Act.PRUNE if _NO_MAILBOX.search(words) else PLAIN.get(code, Act.DROP)


def _not_let_in(code: int, enhanced: str | None, step: Step) -> Act:
    """Refused before an address was named. A mail that is too big, or written in what they cannot
    take, may be refused with its sender; a server that takes no mail at all is theirs to mend."""
    if step is Step.SENDER and enhanced is None and code == _TOO_BIG:
        return Act.DROP
    if step is Step.SENDER and enhanced is not None:
        act = REFUSED.get(enhanced[2:]) or REFUSED_SUBJECTS.get(enhanced.split(".")[1])
        if enhanced[2] in "36" and act is not None:
            return act
    if step is Step.CONNECT and not (enhanced or "").startswith("5.7."):
        return Act.RETRY
    return Act.ALARM


def _enhanced(error: SMTPResponseException) -> str | None:
    """The enhanced code, when there is one and it is of the reply's own class."""
    found = _ENHANCED.match(error.message) or _ENHANCED_LAST.search(error.message)
    if found is None or int(found[1]) != error.code // 100:
        return None
    return f"{found[1]}.{found[2]}"
