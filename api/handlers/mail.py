"""Mails: stopping them by their own link, and what providers say of addresses."""

from email import message_from_bytes
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from api.admission import METER
from api.reading import raw_of
from api.route import Call
from api.unsubscribing import CLICK, FIELD, page
from hub.domain.notifications import suppressions
from hub.domain.people import members
from hub.plumbing.stores.postgres import acquire
from protocol.errors import invalid, not_found
from protocol.links import Unsubscription, read_unsubscription
from protocol.rest.mail import MailFeedback


async def ask(call: Call[None, None]) -> web.Response:
    """The page behind a mail's link; it changes nothing."""
    wish = await _wish(call)
    return page(await _locale(call, wish), wish.scope, done=False)


async def unsubscribe(call: Call[None, None]) -> web.Response:
    """Stop the mails a link is about, by one click (RFC 8058)."""
    wish = await _wish(call)
    raw = await raw_of(call.request)
    if not is_one_click(call.request.headers.get("Content-Type", ""), raw):
        raise invalid(f"Only {FIELD}={CLICK} is taken here.")
    async with call.domain.outbox.change() as change:
        await suppressions.unsubscribe(change, wish, call.domain.now())
    return page(await _locale(call, wish), wish.scope, done=True)


async def feedback(call: Call[MailFeedback, None]) -> None:
    """A bounce or a complaint: nothing is sent to this address again."""
    async with call.domain.outbox.change() as change:
        await suppressions.take_feedback(change, call.body)


async def _wish(call: Call[Any, Any]) -> Unsubscription:
    """What the link says. Whoever tries others out is counted as anybody. Raises NOT_FOUND."""
    wish = read_unsubscription(call.domain.link_secret, call.path["token"])
    if wish is None:
        await call.request[METER].anonymous(call.address)
        raise not_found("link")
    return wish


async def _locale(call: Call[Any, Any], wish: Unsubscription) -> str:
    async with acquire(call.domain.pool) as conn:
        return await members.locale_of(conn, wish.user_id)


def is_one_click(content_type: str, raw: bytes) -> bool:
    """Whether a form says so, in either of the two ways a form is sent (RFC 8058 §3.1)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        pairs = parse_qsl(raw.decode("ascii", "replace"), max_num_fields=None)
        return (FIELD, CLICK) in pairs
    if kind != "multipart/form-data" or not content_type.isprintable():
        return False
    head = f"Content-Type: {content_type}\r\n\r\n".encode("ascii", "replace")
    parts = message_from_bytes(head + raw, policy=HTTP).walk()
    return any(
        part.get_param("name", header="content-disposition") == FIELD
        and not part.is_multipart()
        and (part.get_payload(decode=True) or b"").strip() == CLICK.encode()  # type: ignore[union-attr]
        for part in parts
    )
