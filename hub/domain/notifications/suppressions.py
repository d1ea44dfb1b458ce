"""Mails that nobody wants, or that nobody gets: links to stop them, and addresses that are dead."""

from datetime import datetime
from typing import Final, Literal

from hub.domain.rules.kinds import DIGEST
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.errors import invalid
from protocol.links import Unsubscription, sign_unsubscription
from protocol.mail_address import BadAddress, comparison_key, read_address
from protocol.rest.mail import MailFeedback

_SWITCHES: Final = {
    "digest": "digest_enabled = false",
    "all": "digest_enabled = false, email_enabled = false",
}


def link_of(secret: str, base_url: str, user_id: str, kind: str) -> str | None:
    """Where the reader of a mail of this kind stops it: a digest alone, or all mails. None where no
    mail can have a link (no PUBLIC_BASE_URL, no LINK_SECRET)."""
    if not secret or not base_url:
        return None
    wish = Unsubscription(user_id, "digest" if kind == DIGEST.name else "all")
    return f"{base_url.rstrip('/')}/api/v1/unsubscribe/{sign_unsubscription(secret, wish)}"


async def unsubscribe(change: Change, wish: Unsubscription, now: datetime) -> None:
    """From here on the person's preferences say so; what waits for its time is withheld then."""
    await change.conn.execute(
        f"UPDATE notification_preferences SET {_SWITCHES[wish.scope]}, updated_at = $2"  # noqa: S608 - a constant
        " WHERE user_id = $1",
        wish.user_id,
        now,
    )


async def take_feedback(change: Change, form: MailFeedback) -> None:
    """A mail came back, or its reader called it spam: nothing is sent there again.

    Raises INVALID_PAYLOAD for what is no address.
    """
    try:
        read_address(form.address)
    except BadAddress:
        raise invalid("address is no mail address.") from None
    await suppress(change.conn, form.address, form.kind, form.at)


async def suppress(
    conn: Connection, address: str, reason: Literal["bounce", "complaint"], at: datetime
) -> None:
    """In the form in which addresses are compared; the first reason stays."""
    await conn.execute(
        "INSERT INTO suppressions (address, reason, created_at) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        comparison_key(address),
        reason,
        at,
    )
