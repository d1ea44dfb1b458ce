"""A request done once for an Idempotency-Key, in the one change that its verb works in."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from hub.domain.context import Domain
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, from_json, to_json
from protocol.errors import conflict
from protocol.payload import Message, plain

T = TypeVar("T", bound=Message)


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key: same body, same answer; another body, CONFLICT. Kept 24 h."""

    subject: str
    route: str
    key: str
    body: bytes

    @property
    def body_hash(self) -> bytes:
        return hashlib.sha256(self.body).digest()

    async def find(self, conn: Connection) -> object | None:
        """The answer given before; two calls at once wait for each other here."""
        name = f"{self.subject}\n{self.route}\n{self.key}"
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
        row = await conn.fetchrow(
            "SELECT body_hash, response FROM idempotency_keys"
            " WHERE subject = $1 AND route = $2 AND key = $3"
            " AND created_at > now() - interval '24 hours'",
            self.subject,
            self.route,
            self.key,
        )
        if row is None:
            return None
        if row["body_hash"] != self.body_hash:
            raise conflict("This Idempotency-Key was used with another body.")
        answer: object = from_json(row["response"])
        return answer

    async def keep(self, conn: Connection, answer: Message) -> None:
        await conn.execute(
            "INSERT INTO idempotency_keys (subject, route, key, body_hash, status, response)"
            " VALUES ($1, $2, $3, $4, 200, $5) ON CONFLICT (subject, route, key) DO UPDATE SET"
            " body_hash = excluded.body_hash, response = excluded.response, created_at = now()",
            self.subject,
            self.route,
            self.key,
            self.body_hash,
            to_json(plain(answer)),
        )


async def change_once(
    d: Domain, once: Once | None, form: type[T], verb: Callable[[Change], Awaitable[T]]
) -> T:
    """Run `verb` in a change of its own, unless its key already has an answer.

    Raises CONFLICT for a key used with another body, UNAVAILABLE, and what the verb raises.
    """
    async with d.outbox.change() as change:
        if once is None:
            return await verb(change)
        given = await once.find(change.conn)
        if given is not None:
            return msgspec.convert(given, form)
        answer = await verb(change)
        await once.keep(change.conn, answer)
        return answer
