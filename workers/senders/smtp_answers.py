"""The table of an SMTP server's answers: reply codes (RFC 5321 §4.2), enhanced ones (RFC 3463)."""

import re
from typing import Final

from aiosmtplib import (
    SMTPConnectError,
    SMTPDataError,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from workers.senders.outcome import (
    DISCONNECTED,
    TIMEOUT,
    UNREACHABLE,
    Outcome,
    Permanent,
    Temporary,
)

_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?!\S)")
_AUTH_REQUIRED: Final = 530

# RFC 3463 §3.2, §3.3; 5.1.10 is a null MX (RFC 7505).
_DEAD_ENHANCED: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
# Where a server gives no enhanced code: no such mailbox, not local, name not allowed.
_DEAD_PLAIN: Final = frozenset({550, 551, 553})


def classify(error: Exception) -> Outcome:
    """The outcome of a mail that the server did not take.

    Whatever fails before the first address is named (greeting, HELO, TLS, login) is about us or
    the server, not about the mail: temporary, so that nothing is lost while it is mended.
    """
    match error:
        case SMTPRecipientRefused():
            return _refused(error, at_recipient=True)
        case SMTPSenderRefused() | SMTPDataError():
            return _refused(error, at_recipient=False)
        case SMTPResponseException():
            return Temporary(_code(error.code, _enhanced(error)))
        case TimeoutError():
            return Temporary(TIMEOUT)
        case SMTPServerDisconnected():
            return Temporary(DISCONNECTED)
        case SMTPNotSupported():
            return Temporary("not_supported")
        case SMTPConnectError() | OSError():
            return Temporary(UNREACHABLE)
        case _:
            return Temporary("smtp_error")


def _refused(error: SMTPResponseException, *, at_recipient: bool) -> Outcome:
    enhanced = _enhanced(error)
    code = _code(error.code, enhanced)
    if not 500 <= error.code <= 599 or error.code == _AUTH_REQUIRED:
        return Temporary(code)
    if enhanced is not None:
        return Permanent(code, token_dead=enhanced in _DEAD_ENHANCED)
    return Permanent(code, token_dead=at_recipient and error.code in _DEAD_PLAIN)


def _enhanced(error: SMTPResponseException) -> str | None:
    """The enhanced code, when there is one and it is of the reply's own class."""
    found = _ENHANCED.match(error.message)
    return found[0] if found and int(found[1]) == error.code // 100 else None


def _code(code: int, enhanced: str | None) -> str:
    """`550 5.1.1` or `550`: figures only, never the server's text."""
    return f"{code} {enhanced}" if enhanced else str(code)
