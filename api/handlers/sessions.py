"""Sessions that a service opens for a person it has authenticated."""

from api.route import Call
from hub.domain.people import sessions
from protocol.rest.sessions import Session, SessionRequest


async def open_one(call: Call[SessionRequest, None]) -> Session:
    """Open a session for a person you have authenticated."""
    return await sessions.open_session(
        call.domain, call.service, call.body, user_agent=call.user_agent, ip=call.address or None
    )
