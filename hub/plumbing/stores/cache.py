"""Two tiers before Postgres (C30, S2-088 … S2-091): the memory of this process, then Redis.

What is read is read once at a time in this process, and again in the background shortly before its
time is over. A write invalidates after its commit: the entry in Redis becomes a mark, under which
nothing is stored and reads go to the primary for MARK_S, and every process drops what it holds,
told by a channel. Memory is used only while that channel is heard. A Redis that is away costs the
second tier and no read.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import uuid4

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.plumbing.life.lasting import Lasting
from hub.plumbing.stores.redis_client import AWAY
from hub.plumbing.telemetry.metrics import CACHE_READS
from protocol.names import CACHE_INVALIDATE_CHANNEL

log = structlog.get_logger(__name__)

T = TypeVar("T")
Load = Callable[[bool], Awaitable[T]]
"""Reads from Postgres; told whether a replica, which may lag, will do."""

MEMORY_BYTES: Final = 32 * 2**20
ENTRY_BYTES: Final = 500
"""What an entry costs beside its text, roughly."""

MARK_S: Final = 5.0
"""C35: for so long after a write its readers see the primary."""

GROUP_S: Final = 86_400
"""Longer than any entry lives."""

AHEAD: Final = 0.8
"""Of its life, after which an entry that is read is made anew in the background (S2-095)."""

ANSWER_S: Final = 0.25
PAUSE_S: Final = 1.0
MOST_OWED: Final = 10_000

_MARK: Final = b"!"
_STORE: Final = (
    "if redis.call('GETRANGE', KEYS[1], 0, 0) == '!' then return 0 end"
    " redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
)


@dataclass(frozen=True, slots=True)
class Family:
    """What is cached under `name:…`, for `ttl_s` (None: CACHE_L2_TTL); `group` names what is
    invalidated together."""

    name: str
    ttl_s: float | None = None
    group: str = ""


class _Entry(msgspec.Struct, array_like=True):
    """`made`: epoch seconds. `mark`: that of its group when it was read."""

    made: float
    mark: bytes
    body: bytes


@dataclass(slots=True)
class _Kept:
    value: Any
    size: int
    until: float
    ahead_at: float
    turn: int


@dataclass(eq=False, slots=True)
class _Flight:
    """One read under way. `stale`: what it reads was changed meanwhile."""

    group: str
    task: "asyncio.Task[Any] | None" = None
    stale: bool = False


class _Away(Exception):
    """Redis did not answer in time, or was away a moment ago."""


class Cache:
    """One a process. Times in seconds; `prefix` is REDIS_PREFIX."""

    def __init__(
        self,
        redis: Redis,
        prefix: str = "",
        *,
        memory_ttl_s: float = 60.0,
        ttl_s: float = 3600.0,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._memory_ttl = memory_ttl_s
        self._ttl = ttl_s
        self._most = memory_bytes
        self._memory: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._flights: dict[str, _Flight] = {}
        self._turns: dict[str, int] = {}
        self._bells: dict[str, asyncio.Event] = {}
        self._owed: set[str] = set()
        self._not_before = 0.0
        self._away = Lasting(log, "cache.away", "cache.back")
        self.heard = asyncio.Event()
        """Set while invalidations of other processes arrive."""

    async def read(self, family: Family, rest: str, form: type[T], load: Load[T]) -> T:
        """What is cached under the family's name and `rest`, else what `load` gives, whose errors
        pass. The value is shared: nobody changes it."""
        name = f"{family.name}:{rest}"
        kept = self._kept(name, family)
        if kept is not None:
            CACHE_READS.count(family.name, "memory")
            if kept.ahead_at <= time.time() and name not in self._flights:
                self._fly(family, name, form, load, anew=True)
            value: T = kept.value
            return value
        flight = self._flights.get(name) or self._fly(family, name, form, load)
        assert flight.task is not None
        found: T = await asyncio.shield(flight.task)
        return found

    async def invalidate(self, names: Iterable[str]) -> None:
        """Drop entries and groups, here and everywhere. Raises nothing: what Redis is not told now
        it is told when it is back."""
        names = tuple(names)
        for name in names:
            self._drop(name)
        if len(self._owed) < MOST_OWED:
            self._owed.update(names)
        await self._pay()

    def bell(self, name: str) -> asyncio.Event:
        """Set each time this name is invalidated anywhere."""
        return self._bells.setdefault(name, asyncio.Event())

    async def listen(self) -> None:
        """Hear what other processes invalidate, until cancelled."""
        while True:
            try:
                await self._hear()
            except (RedisError, *AWAY) as error:
                self._away.seen(error=type(error).__name__)
            finally:
                self.heard.clear()
                self._forget()
            await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        flights = [one.task for one in self._flights.values() if one.task is not None]
        for task in flights:
            task.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    # --- the first tier

    def _kept(self, name: str, family: Family) -> _Kept | None:
        kept = self._memory.get(name)
        if kept is None:
            return None
        if kept.until <= time.time() or kept.turn != self._turns.get(family.group, 0):
            self._discard(name)
            return None
        self._memory.move_to_end(name)
        return kept

    def _keep(self, name: str, kept: _Kept) -> None:
        self._discard(name)
        self._memory[name] = kept
        self._bytes += kept.size
        while self._bytes > self._most:
            self._discard(next(iter(self._memory)))

    def _discard(self, name: str) -> None:
        kept = self._memory.pop(name, None)
        if kept is not None:
            self._bytes -= kept.size

    def _forget(self) -> None:
        self._memory.clear()
        self._bytes = 0
        for name in tuple(self._flights):
            self._drop(name)

    def _drop(self, name: str) -> None:
        """An entry or a group: from memory, and whatever reads it now is too old to be kept."""
        self._discard(name)
        if name in self._turns:
            self._turns[name] += 1
        for key, flight in tuple(self._flights.items()):
            if name in (key, flight.group):
                flight.stale = True
                del self._flights[key]
        if name in self._bells:
            self._bells[name].set()

    # --- reading

    def _fly(
        self, family: Family, name: str, form: type[T], load: Load[T], *, anew: bool = False
    ) -> _Flight:
        self._turns.setdefault(family.group, 0)
        flight = _Flight(family.group)
        self._flights[name] = flight
        flight.task = asyncio.create_task(self._find(flight, family, name, form, load, anew))
        flight.task.add_done_callback(lambda task: self._landed(name, flight, task))
        return flight

    def _landed(self, name: str, flight: _Flight, task: "asyncio.Task[Any]") -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]
        if not task.cancelled():
            task.exception()  # of one that nobody waits for

    async def _find(
        self, flight: _Flight, family: Family, name: str, form: type[T], load: Load[T], anew: bool
    ) -> T:
        entry, mark, may_lag = await self._look(family, name)
        ttl = family.ttl_s or self._ttl
        if entry is not None and not anew:
            try:
                value = msgspec.msgpack.decode(entry.body, type=form)
            except msgspec.MsgspecError:  # of another version of ours
                pass
            else:
                CACHE_READS.count(family.name, "redis")
                self._keep_found(flight, name, value, entry, ttl)
                return value
        if not anew:
            CACHE_READS.count(family.name, "miss")
        value = await load(may_lag)
        entry = _Entry(time.time(), mark or b"", msgspec.msgpack.encode(value))
        if not flight.stale:
            self._keep_found(flight, name, value, entry, ttl)
            if mark is not None:
                await self._store(name, entry, ttl)
        return value

    def _keep_found(
        self, flight: _Flight, name: str, value: object, entry: _Entry, ttl: float
    ) -> None:
        if flight.stale or not self.heard.is_set():
            return
        size = ENTRY_BYTES + len(name) + len(entry.body)
        until = min(time.time() + self._memory_ttl, entry.made + ttl)
        ahead = entry.made + AHEAD * ttl
        self._keep(name, _Kept(value, size, until, ahead, self._turns.get(flight.group, 0)))

    # --- the second tier

    async def _look(self, family: Family, name: str) -> tuple[_Entry | None, bytes | None, bool]:
        """The entry, the mark of its group (None: Redis is away), and whether a read may lag."""
        names = [self._prefix + one for one in (name, family.group) if one]
        try:
            answer = await self._ask(lambda: self._redis.mget(names))
        except _Away:
            return None, None, False
        raw, mark = answer[0], (answer[1] if family.group else None) or b""
        may_lag = raw != _MARK and _is_old(mark)
        if raw is None or raw == _MARK:
            return None, mark, may_lag
        try:
            entry = msgspec.msgpack.decode(raw, type=_Entry)
        except msgspec.MsgspecError:
            return None, mark, may_lag
        return (entry if entry.mark == mark else None), mark, may_lag

    async def _store(self, name: str, entry: _Entry, ttl: float) -> None:
        raw, ms = msgspec.msgpack.encode(entry), str(int(ttl * 1000))
        try:
            await self._ask(lambda: self._redis.eval(_STORE, 1, self._prefix + name, raw, ms))
        except _Away:
            return

    async def _pay(self) -> None:
        owed = tuple(self._owed)
        if not owed:
            return
        mark = f"{int(time.time() * 1000)}-{uuid4().hex[:8]}"

        async def tell() -> None:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in owed:
                    if name.startswith("cache:"):
                        pipe.set(self._prefix + name, mark, ex=GROUP_S)
                    else:
                        pipe.set(self._prefix + name, _MARK, px=int(MARK_S * 1000))
                pipe.publish(self._channel, msgspec.json.encode(owed))
                await pipe.execute()

        try:
            await self._ask(tell)
        except _Away:
            return
        self._owed.difference_update(owed)

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Raises _Away: at once while Redis was away a moment ago."""
        if time.monotonic() < self._not_before:
            raise _Away
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await call()
        except (RedisError, *AWAY) as error:
            self._not_before = time.monotonic() + PAUSE_S
            self._away.seen(error=type(error).__name__)
            raise _Away from error
        self._away.over()
        return answer

    @property
    def _channel(self) -> str:
        return self._prefix + CACHE_INVALIDATE_CHANNEL

    async def _hear(self) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(self._channel)
            while True:
                message = await channel.get_message(timeout=1.0)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self._forget()  # what passed meanwhile was not heard
                    self.heard.set()
                    await self._pay()
                    for bell in self._bells.values():
                        bell.set()
                elif message["type"] == "message":
                    self._obey(message["data"])

    def _obey(self, data: bytes) -> None:
        try:
            names = msgspec.json.decode(data, type=list[str])
        except msgspec.MsgspecError:  # anybody may publish here
            return
        for name in names:
            self._drop(name)


def _is_old(mark: bytes) -> bool:
    ms = mark.partition(b"-")[0]
    return not ms.isdigit() or int(ms) / 1000 + MARK_S < time.time()
