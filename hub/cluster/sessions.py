"""What a stock client comes back to, on any node: kept in Redis from the first moment.

A session outlives its connection by RECOVERY_WINDOW. If its node dies nobody can say when the
connection did, so the lease adds PRESENCE_TTL. Every method raises redis.exceptions.RedisError.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from hub.cluster import scripts
from hub.cluster.line import Line
from protocol.names import Keys

BATCH: Final = 500
"""Sessions renewed in one call."""

PER_USER: Final = 64
"""Sessions of a person that are kept, parked ones too; of more the one that ends first is given up,
and its client is told `recovered: false`."""


@dataclass(slots=True)
class Session:
    """`pid` is a secret of the client's. `owner` is `node token` of the connection that holds it,
    empty once that has ended. `at` is the position at which it began, `rooms` the position at
    which each room was joined.
    """

    pid: str
    user: str
    sid: str
    namespace: str
    owner: str
    at: str
    rooms: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    tried: tuple[str, int] = ("", 0)


class Sessions:
    def __init__(self, line: Line, keys: Keys, node: str, *, window: int, ttl: int):
        self._line = line
        self._keys = keys
        self._node = node
        self._window = window
        self._lease = window + ttl
        self._held: dict[str, Session] = {}

    def owner(self, token: str) -> str:
        """How this node's connection `token` (unique on the node, without blanks) signs."""
        return f"{self._node} {token}"

    async def open(
        self,
        *,
        pid: str,
        user: str,
        sid: str,
        namespace: str,
        token: str,
        rooms: Collection[str],
        data: bytes = b"",
    ) -> Session:
        """A new session, before its rooms are joined here and before its client hears of it."""
        owner = self.owner(token)
        offset, *over = await self._line.run(
            scripts.SESSION_OPEN,
            [self._keys.epoch, self._keys.session(pid), self._keys.sessions(user)],
            [self._lease, pid, user, sid, namespace, owner, data, PER_USER, *rooms],
        )
        if over:
            await self._line.call("UNLINK", *(self._keys.session(old.decode()) for old in over))
        at = offset.decode()
        session = Session(pid, user, sid, namespace, owner, at, dict.fromkeys(rooms, at), data)
        self._held[pid] = session
        return session

    async def claim(
        self, *, pid: str, user: str, namespace: str, token: str
    ) -> tuple[Session, str] | None:
        """Takes a session over for a new connection of the same person; None when there is none or
        it is not theirs. With it comes who held it until now (empty: nobody): a connection of
        another node is told to let go, one of this node the caller ends at once.
        """
        owner = self.owner(token)
        fields = await self._line.run(
            scripts.SESSION_CLAIM,
            [self._keys.session(pid), self._keys.sessions(user)],
            [user, namespace, owner, self._lease, self._keys.node(""), pid, self._line.tell],
        )
        if not fields:
            return None
        session, before = _session(pid, dict(zip(fields[::2], fields[1::2], strict=True)))
        session.owner = owner
        self._held[pid] = session
        return session, before

    async def move(
        self, session: Session, *, join: Collection[str] = (), leave: Collection[str] = ()
    ) -> bool:
        """Rooms it gets (before they are joined here) and loses. False when another connection
        has taken it over.
        """
        offset: bytes | None = await self._line.run(
            scripts.SESSION_MOVE,
            [self._keys.epoch, self._keys.session(session.pid)],
            [session.owner, len(join), *join, *leave],
        )
        if offset is None:
            return False
        for room in join:
            session.rooms.setdefault(room, offset.decode())
        for room in leave:
            session.rooms.pop(room, None)
        return True

    async def note_replay(self, session: Session, since: str) -> None:
        """Before missed events are written: whether they arrive only the client's next offset
        tells."""
        times = session.tried[1] + 1 if session.tried[0] == since else 1
        session.tried = since, times
        key = self._keys.session(session.pid)
        await self._line.run(scripts.SESSION_REPLAY, [key], [session.owner, since, times])

    async def park(self, session: Session) -> None:
        """The connection broke: the session waits for its client."""
        await self._end(session, self._window)

    async def close(self, session: Session) -> None:
        """Client or server ended it: there is nothing to come back to."""
        await self._end(session, 0)

    async def _end(self, session: Session, kept: int) -> None:
        if self._held.get(session.pid) is session:
            del self._held[session.pid]
        keys = [self._keys.session(session.pid), self._keys.sessions(session.user)]
        await self._line.run(scripts.SESSION_END, keys, [session.owner, session.pid, kept])

    async def forget(self, namespace: str, rooms: Collection[str]) -> None:
        """End the sessions held here of sockets in any of these rooms (none: of all in the
        namespace): they missed something and do not know it.
        """
        told = set(rooms)
        ending = [
            session
            for session in self._held.values()
            if session.namespace == namespace
            and (not told or not told.isdisjoint((session.sid, *session.rooms)))
        ]
        for start in range(0, len(ending), BATCH):
            await asyncio.gather(*map(self.close, ending[start : start + BATCH]))

    async def remove(
        self, user: str, namespace: str, room: str, *, only_parked: bool = False
    ) -> None:
        """Out of the room in every session of a person, parked ones too."""
        owner = "-" if only_parked else ""
        pids = await self._line.call("ZRANGE", self._keys.sessions(user), 0, -1)
        for pid in pids:
            key = self._keys.session(pid.decode())
            if await self._line.call("HGET", key, "namespace") == namespace.encode():
                await self._line.run(
                    scripts.SESSION_MOVE, [self._keys.epoch, key], [owner, 0, room]
                )

    async def renew(self) -> None:
        """Renews the lease of every session held here."""
        held: Sequence[Session] = list(self._held.values())
        for start in range(0, len(held), BATCH):
            batch = held[start : start + BATCH]
            keys = [
                key
                for session in batch
                for key in (self._keys.session(session.pid), self._keys.sessions(session.user))
            ]
            pids = [session.pid for session in batch]
            await self._line.run(scripts.SESSIONS_RENEW, keys, [self._lease, *pids])


def _session(pid: str, fields: dict[bytes, bytes]) -> tuple[Session, str]:
    rooms = {
        name[2:].decode(): since.decode()
        for name, since in fields.items()
        if name.startswith(b"r:")
    }
    user, sid, namespace, owner, at = (
        fields[name].decode() for name in (b"user", b"sid", b"namespace", b"owner", b"at")
    )
    since, _, times = fields.get(b"replay", b"").decode().partition(" ")
    tried = since, int(times or 0)
    return Session(pid, user, sid, namespace, owner, at, rooms, fields[b"data"], tried), owner
