"""Sessions that a service opens for a person it has authenticated."""

from api.route import Call
from hub.domain.people import sessions
from protocol.rest.sessions import Session, SessionRequest


async def open_one(call: Call[SessionRequest, None]) -> Session:
    """Open a session for a person you have authenticated."""
    d, ip = call.domain, call.address or None
    return await call.change(
        Session,
        lambda change: sessions.open_session(
            d, change, call.service, call.body, user_agent=call.user_agent, ip=ip
        ),
    )
