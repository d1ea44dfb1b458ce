"""Tokens that are revoked, and the sockets of this node that came in with one."""

import time
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

import structlog

from hub.domain.context import Domain
from hub.domain.people import sessions
from hub.engine import Event, Member, Server
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.stores.redis_client import AWAY
from hub.sockets.guest import Guest, guest_of
from protocol.events import Revocation
from protocol.events.session import SessionRevoked
from protocol.names import user_room
from protocol.payload import plain
from protocol.tokens import Token

AT_ONCE: Final = 500
"""Tokens looked up in one call."""

REMEMBERED_S: Final = 15.0
"""At least so long, and at most twice as long, a word is remembered: as an admission takes."""

log = structlog.get_logger(__name__)


class Revocations:
    """What has been revoked anywhere, and whom it cuts here. `guests` are all sockets of the node.

    A token may have been found good just before the word came, by a socket that is in no room yet:
    who lets one in asks `cover` once it is.
    """

    def __init__(self, domain: Domain, server: Server, guests: Mapping[str, Member]) -> None:
        self._domain = domain
        self._server = server
        self._guests = guests
        self._until = 0.0
        self._now: list[Revocation] = []
        self._before: list[Revocation] = []
        self._unasked = Lasting(
            log, "tokens of live sockets cannot be asked", "tokens can be asked again"
        )

    def heard(self, revocation: Revocation) -> None:
        self._forget()
        self._now.append(revocation)
        for member in self._of(revocation.user_id):
            access = guest_of(member).access
            if revocation.covers(access.user_id, access.issued_at, access.jti):
                self._cut(member, revocation.reason)

    def cover(self, token: Token) -> bool:
        """Whether a token was revoked lately."""
        self._forget()
        return any(
            one.covers(token.user_id, token.issued_at, token.jti)
            for one in (*self._now, *self._before)
        )

    async def ask_again(self) -> None:
        """Orders are heard once or never: whoever was here while the bus was away has its token
        looked up. With Redis away again, the next return of the bus asks anew."""
        here = list(self._guests.values())
        for start in range(0, len(here), AT_ONCE):
            some = here[start : start + AT_ONCE]
            try:
                gone = await sessions.revoked(
                    self._domain, [guest_of(member).access for member in some]
                )
            except AWAY as error:
                self._unasked.seen(kind=type(error).__name__)
                return
            self._unasked.over()
            for member, is_gone in zip(some, gone, strict=True):
                if is_gone:
                    self._cut(member, "revoked")

    def _of(self, user_id: str) -> list[Member]:
        """The sockets of a person; all of them where only the number of a token is known."""
        if not user_id:
            return list(self._guests.values())
        spaces = self._server.manager.namespaces
        home = (user_room(user_id),)
        found = [one for name in spaces for one in self._server.select(home, (), name)]
        return [one for one in found if isinstance(one.data, Guest)]

    def _cut(self, member: Member, reason: str) -> None:
        """DISCONNECT is final for stock clients; who is not let in yet tries again."""
        if not member.connected:
            self._server.cut(member)
            return
        data = {"id": str(uuid4()), **plain(SessionRevoked(reason=reason))}
        namespace = member.namespace.name
        event = Event(["session:revoked", data], namespace=namespace, kind="alert")
        self._server.deliver(event, (member.sid,))
        self._server.kick(member)

    def _forget(self) -> None:
        now = time.monotonic()
        if now >= self._until:
            self._until = now + REMEMBERED_S
            self._now, self._before = [], self._now
