"""The token a socket came in with: its end is told before it comes, and it is renewed.

One wheel serves all sockets (`Node.expiries`): each stands in the slot of what happens to it next.
"""

from datetime import UTC, datetime

from hub.domain.people import sessions
from hub.engine import Member, members_of
from hub.sockets import whereabouts
from hub.sockets.context import Node
from hub.sockets.guest import EXPIRED, EXPIRING, OVER, Guest, guest_of
from protocol.errors import Code, HubError, forbidden
from protocol.events.session import AuthRefresh, TokenEnd
from protocol.names import MAIN


def watch(node: Node, member: Member) -> None:
    """From now on the socket hears of its token's end: product.md, `auth:expiring`."""
    guest = guest_of(member)
    guest.step = EXPIRING
    _wait(node, member, guest.access.expires_at - node.expiring_lead_s)


def unwatch(node: Node, member: Member) -> None:
    guest = guest_of(member)
    if guest.expiry:
        node.expiries.drop(member, guest.expiry)
        guest.expiry = 0


def due(node: Node, member: Member) -> None:
    """C19: told before the end, told at the end, closed when the grace is over. The client comes
    back with what its `auth` function gives; sockets of other namespaces have no such events."""
    guest, ends = guest_of(member), guest_of(member).access.expires_at
    if guest.step == EXPIRING:
        guest.step = EXPIRED
        _tell(node, member, "auth:expiring")
        _wait(node, member, ends)
    elif guest.step == EXPIRED:
        guest.step = OVER
        _tell(node, member, "auth:expired")
        _wait(node, member, ends + node.expired_grace_s)
    else:
        guest.expiry = 0
        node.server.cut(member)


def _tell(node: Node, member: Member, name: str) -> None:
    if member.namespace.name == MAIN:
        at = guest_of(member).access.expires_at
        node.send(member, name, TokenEnd(expires_at=_moment(at)))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _wait(node: Node, member: Member, until: float) -> None:
    delay = max(0.0, until - node.domain.now().timestamp())
    guest_of(member).expiry = node.expiries.add(member, delay)


async def refresh(node: Node, member: Member, form: AuthRefresh) -> TokenEnd:
    """A new token for the socket as it is, and for the others of its person on its connection; what
    the person may be in is found out anew.

    Raises what `sessions.verify` raises, FORBIDDEN for somebody else's token.
    """
    guest = guest_of(member)
    token = await sessions.verify(node.domain, form.token)
    if token.user_id != guest.user_id:
        raise forbidden("This token belongs to another person.")
    if node.revocations.cover(token):
        raise HubError(Code.TOKEN_REVOKED)
    for one in members_of(member.link):
        other = one.data
        if isinstance(other, Guest) and other.user_id == token.user_id and not other.leaving:
            unwatch(node, one)
            other.access = token
            watch(node, one)
    await _look_around(node, member)
    return TokenEnd(expires_at=_moment(token.expires_at))


async def _look_around(node: Node, member: Member) -> None:
    """Later, with Postgres away."""
    try:
        await whereabouts.look_around(node, member)
    except HubError as error:
        if error.code != Code.UNAVAILABLE:
            raise
        node.doubt(guest_of(member).user_id)
