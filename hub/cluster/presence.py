"""Who is here: leases in Redis, scored by their expiry on Redis's own clock.

Nobody is asked and nothing is waited for: what a dead node held is out by its score after
PRESENCE_TTL, before anybody has reaped it. Every method raises redis.exceptions.RedisError.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from hub.cluster import scripts
from hub.cluster.line import Line
from protocol.names import Keys

PRESENCE_TTL: Final = 90
"""s; longer than ping interval + ping time-out, after which a silent socket is closed."""

BATCH: Final = 500
"""Keys or people in one call: some hundred µs of Redis's time."""


class Headcount(NamedTuple):
    """How many people are in a place, and whether somebody's coming or going has changed that."""

    people: int
    changed: bool


class Census:
    """The questions any process may ask. A place is the key of a room (`Keys.room_online`) or of
    a stream's viewers (`Keys.viewers`); counts are of people, not of sockets.
    """

    def __init__(self, line: Line, keys: Keys):
        self._line = line
        self._keys = keys

    async def online(self, users: Iterable[str]) -> set[str]:
        """Which of these people hold a live socket on any node."""
        asked = list(dict.fromkeys(users))
        counts = await self._living([self._keys.presence(user) for user in asked])
        return {user for user, count in zip(asked, counts, strict=True) if count}

    async def count(self, place: str) -> int:
        return (await self._living([place]))[0]

    async def counts(self, places: list[str]) -> list[int]:
        return await self._living(places)

    async def people(self, place: str, limit: int) -> list[str]:
        """At most `limit` of the people there, those seen last first."""
        now = int((await self._line.call("TIME"))[0])
        found = await self._line.call(
            "ZREVRANGEBYSCORE", place, "+inf", f"({now}", "LIMIT", 0, limit
        )
        return [person.decode() for person in found]

    async def nodes(self) -> list[str]:
        """The living nodes, those that go away among them."""
        return await self._listed(self._keys.nodes)

    async def leaving(self) -> list[str]:
        """The nodes that go away: nobody comes back to one of them."""
        return await self._listed(self._keys.leaving)

    async def _listed(self, key: str) -> list[str]:
        now = int((await self._line.call("TIME"))[0])
        found = await self._line.call("ZRANGEBYSCORE", key, f"({now}", "+inf")
        return sorted(node.decode() for node in found)

    async def _living(self, keys: list[str]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            counts += await self._line.run(scripts.LIVING_COUNT, batch, ())
        return counts


class Presence(Census):
    """What one node holds. `per_user` is the limit of sockets a person may have in the cluster."""

    def __init__(
        self,
        line: Line,
        keys: Keys,
        node: str,
        *,
        ttl: int = PRESENCE_TTL,
        per_user: int = 10,
    ):
        super().__init__(line, keys)
        self._node = node
        self._ttl = ttl
        self._per_user = per_user
        self._sockets: dict[str, tuple[str, str]] = {}  # by sid: key and member
        self._places: dict[str, Counter[str]] = {}
        self._leaves = False

    async def connect(self, user: str, sid: str, namespace: str = "/") -> list[str]:
        """Notes a socket. Returns the sids in that namespace, on whatever node, that the person
        loses for it: the oldest over the limit. Only sockets of / make somebody `online`.
        """
        key = self._keys.presence(user, namespace)
        member, *oldest = await self._line.run(
            scripts.SOCKET_ENTER, [key], [sid, self._ttl, self._per_user]
        )
        self._sockets[sid] = (key, member.decode())
        return [old.decode().partition(" ")[2] for old in oldest]

    async def disconnect(self, sid: str) -> None:
        """Unknown sids are fine: whoever was refused half way leaves by the same door."""
        key, member = self._sockets.pop(sid, ("", ""))
        if member:
            await self._line.call("ZREM", key, member)

    async def enter(self, place: str, user: str) -> Headcount:
        """One more socket of a person is in a place. What Redis did not take it is told with the
        next lease.
        """
        self._places.setdefault(place, Counter())[user] += 1
        return await self._assert(place, [user])

    async def leave(self, place: str, user: str) -> Headcount:
        """One socket fewer; the person counts while any node still holds one of theirs there."""
        if not self._forget(place, user):
            return Headcount(await self.count(place), False)
        people, gone = await self._line.run(
            scripts.PLACE_LEAVE,
            [place, self._keys.seats(place), self._keys.nodes],
            [self._node, user],
        )
        return Headcount(people, bool(gone))

    def _forget(self, place: str, user: str) -> bool:
        """True when it was the last socket of the person there."""
        here = self._places.get(place)
        if here is None or user not in here:
            return False
        here[user] -= 1
        if here[user] > 0:
            return False
        del here[user]
        if not here:
            del self._places[place]
        return True

    async def renew(self) -> None:
        """Renews every lease of this node; what Redis had lost (a restart) is there again."""
        now = int((await self._line.call("TIME"))[0])
        await self._line.call("ZREMRANGEBYSCORE", self._keys.nodes, "-inf", now)
        await self._line.call("ZADD", self._keys.nodes, now + self._ttl, self._node)
        if self._leaves:
            await self.leave_soon()
        held = list(self._sockets.values())
        for start in range(0, len(held), BATCH):
            batch = held[start : start + BATCH]
            keys = [key for key, _ in batch]
            members = [member for _, member in batch]
            await self._line.run(scripts.SOCKETS_RENEW, keys, [self._ttl, *members])
        for place, people in list(self._places.items()):
            here = list(people)
            for start in range(0, len(here), BATCH):
                await self._assert(place, here[start : start + BATCH])

    async def leave_soon(self) -> None:
        """Others that leave at the same time count this one among them."""
        self._leaves = True
        key, now = self._keys.leaving, int((await self._line.call("TIME"))[0])
        await self._line.call("ZADD", key, now + self._ttl, self._node)
        await self._line.call("EXPIRE", key, self._ttl)

    async def clear(self) -> None:
        """The node goes: its people are out at once, not after their leases."""
        for sid in list(self._sockets):
            await self.disconnect(sid)
        for place, people in list(self._places.items()):
            for user, sockets in list(people.items()):
                people[user] = min(sockets, 1)
                await self.leave(place, user)
        for key in (self._keys.nodes, self._keys.leaving):
            await self._line.call("ZREM", key, self._node)

    async def _assert(self, place: str, people: list[str]) -> Headcount:
        count, fresh = await self._line.run(
            scripts.PLACE_ENTER,
            [place, self._keys.seats(place)],
            [self._ttl, self._node, *people],
        )
        return Headcount(count, bool(fresh))
