"""Which service keys there are, so that a made-up one does not reach Postgres each time.

Whoever holds a real key is looked up at each call, as before: what it may do, and that it was
disabled, counts at once. Only what this process does not know waits until the list was read anew,
once in HOLD_S for all that wait: a new key is known after so long at the latest, and rubbish, of
however many callers, costs one query a second.
"""

import asyncio
from typing import Final

from hub.plumbing.stores.postgres import Pool, acquire
from protocol.tokens import same_hash

HOLD_S: Final = 1.0


class ServiceKeys:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hashes: dict[str, bytes] = {}
        self._next_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def known(self, client_id: str, key_hash: bytes) -> bool:
        """Raises UNAVAILABLE while Postgres, which would have to be asked, is away."""
        if self._has(client_id, key_hash):
            return True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)
        return self._has(client_id, key_hash)

    def _has(self, client_id: str, key_hash: bytes) -> bool:
        found = self._hashes.get(client_id)
        return found is not None and same_hash(found, key_hash)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next_at - loop.time()))
        self._next_at = loop.time() + HOLD_S
        async with acquire(self._pool) as conn:
            rows = await conn.fetch("SELECT id, key_hash FROM service_clients")
        self._hashes = {row["id"]: row["key_hash"] for row in rows}
