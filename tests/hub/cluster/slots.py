"""A real Redis Cluster on loopback, and what may happen to whoever owns a slot."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from hub.embedded.supervisor import free_port
from protocol.names import Channels, Keys
from tests.hub.cluster.valkey import Valkey

SLOTS = 16384
NODE_TIMEOUT_MS = 2000
TAG = "{hub}:"
ON_A_CLUSTER = os.environ.get("REDIS_OF_TESTS") == "cluster"


def fresh_names(on_a_cluster: bool = ON_A_CLUSTER) -> tuple[Keys, Channels]:
    """Keys and channels no other test uses."""
    mark = uuid.uuid4().hex[:8]
    if on_a_cluster:
        return Keys(f"{TAG}{mark}:"), Channels(f"sio-{mark}", f"{TAG}{mark}:")
    return Keys(f"{mark}:"), Channels(f"sio-{mark}")


class Member(Valkey):
    """One node; alone it owns every slot."""

    def __init__(self, *options: str) -> None:
        self.bus_port = free_port()
        super().__init__(
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            str(self.bus_port),
            "--cluster-node-timeout",
            str(NODE_TIMEOUT_MS),
            "--cluster-require-full-coverage",
            "no",
            "--repl-diskless-sync-delay",
            "0",
            *options,
        )

    def ask(self, *command: Any, within_s: float = 5) -> Any:
        with self._client(within_s) as client:
            return client.execute_command(*command)

    def _client(self, within_s: float = 5) -> Redis:
        """One connection, one try: whoever is dead or stands still need not be waited for."""
        return Redis(
            port=self.port,
            protocol=2,
            socket_timeout=within_s,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
        )

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"), "ascii")

    @property
    def classic_url(self) -> str:
        return f"redis://{self.where}"

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self.port}"

    def await_master(self) -> None:
        until(lambda: self.role() == "master", "the replica was not promoted")

    def role(self) -> str:
        return str(self.ask("ROLE")[0], "ascii")

    def holds(self, keys: Sequence[str]) -> int:
        """How many of these keys there are, on a replica too."""
        with self._client() as client:
            client.execute_command("READONLY")
            return int(client.exists(*keys)) if keys else 0

    def owners(self) -> dict[int, int]:
        """Port of the master of each range, by its first slot, as this node sees it."""
        slots = self.ask("CLUSTER", "SLOTS", within_s=1)
        return {first: node[1] for first, _, node, *_ in slots}


class Alone(Member):
    """A cluster of one node, to be killed and started again like any single server."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        self.await_ok()

    @property
    def url(self) -> str:
        return f"redis+cluster://{self.where}"

    def start(self) -> None:
        again = self.process is not None
        super().start()
        if again:
            self.await_ok()

    def await_ok(self) -> None:
        until(lambda: _state(self) == "ok", "the cluster is not up")


class Slots:
    """Three masters with a replica each, unless told otherwise."""

    def __init__(self, masters: int = 3, *options: str, replicas: bool = True) -> None:
        self.members = [Member(*options) for _ in range(masters * (2 if replicas else 1))]
        self.url = f"redis+cluster://{','.join(one.where for one in self.members)}"
        first = self.members[0]
        for number, member in enumerate(self.members):
            member.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if member is not first:
                member.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus_port)
        for number, member in enumerate(self.members[:masters]):
            begin, end = (SLOTS * place // masters for place in (number, number + 1))
            member.ask("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for replica, master in zip(self.members[masters:], self.members[:masters], strict=False):
            _follow(replica, master.id)
        self.await_whole()

    @property
    def classic_url(self) -> str:
        """One node, for those who know no clusters and only publish and listen."""
        return self.members[0].classic_url

    def await_whole(self) -> None:
        """Every node sees all of them, and each replica is in step."""
        count = len(self.members)

        def whole() -> bool:
            return all(_knows(member, count) and _in_step(member) for member in self.members)

        until(whole, "the cluster is not whole")

    def owner(self, key: str = TAG) -> Member:
        """Whoever most of the living say owns the key's slot."""
        number = key_slot(key.encode())
        said: list[int] = []
        for member in self.members:
            with suppress(RedisError):
                owners = member.owners()
                said.append(owners[max(first for first in owners if first <= number)])
        port = max(said, key=said.count)
        return next(member for member in self.members if member.port == port)

    def replica(self, key: str = TAG) -> Member:
        """One replica of the key's owner."""
        owner = self.owner(key)
        [_, _, replicas] = owner.ask("ROLE")
        ports = {int(port) for _, port, _ in replicas}
        return next(member for member in self.members if member.port in ports)

    def fail_over(self, key: str = TAG) -> Member:
        """As an operator does before an update; returns the new owner."""
        replica = self.replica(key)
        replica.ask("CLUSTER", "FAILOVER")
        replica.await_master()
        return replica

    def kill_owner(self, key: str = TAG) -> tuple[Member, Member]:
        """kill -9; returns the dead and the promoted one."""
        dead, heir = self.owner(key), self.replica(key)
        dead.kill()
        heir.await_master()
        return dead, heir

    def leave_behind(self, key: str = TAG) -> Member:
        """The owner's replica stands still, without the link by which what it has not read yet
        would reach it: what it has now is all it will have. Returns it, for `promote`.
        """
        owner, replica = self.owner(key), self.replica(key)
        replica.signal(signal.SIGSTOP)
        owner.ask("CLIENT", "KILL", "TYPE", "REPLICA")
        return replica

    def promote(
        self, replica: Member, keys: Sequence[str] = (), key: str = TAG
    ) -> tuple[Member, int]:
        """kill -9 of the owner; the replica that was left behind takes over. Returns the dead, and
        how many of these keys the replica had while it was none but that.
        """
        dead = self.owner(key)
        dead.kill()
        replica.signal(signal.SIGCONT)
        known = replica.holds(keys)
        replica.await_master()
        return dead, known

    def move(self, key: str = TAG) -> Member:
        """The slot goes to another master: as Valkey 9 moves it, at one moment, or key by key where
        the servers know only that.
        """
        number, owner = key_slot(key.encode()), self.owner(key)
        target = next(one for one in self.members if one is not owner and one.role() == "master")
        try:
            owner.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", number, number, "NODE", target.id)
        except ResponseError as error:
            if "unknown subcommand" not in str(error):
                raise
            self._move_keys(number, owner, target)
        until(lambda: self._owns(target, number), "the slot was not moved")
        return target

    def _move_keys(self, number: int, owner: Member, target: Member) -> None:
        target.ask("CLUSTER", "SETSLOT", number, "IMPORTING", owner.id)
        owner.ask("CLUSTER", "SETSLOT", number, "MIGRATING", target.id)
        while keys := owner.ask("CLUSTER", "GETKEYSINSLOT", number, 100):
            owner.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for member in (target, owner):
            member.ask("CLUSTER", "SETSLOT", number, "NODE", target.id)

    def _owns(self, member: Member, number: int) -> bool:
        return any(
            first <= number <= last and node[1] == member.port
            for first, last, node, *_ in member.ask("CLUSTER", "SLOTS")
        )

    def close(self) -> None:
        for member in self.members:
            member.close()


def until(true: Callable[[], object], otherwise: str, within_s: float = 30.0) -> None:
    """Polls what no signal tells."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with suppress(RedisError):
            if true():
                return
        time.sleep(0.02)
    raise TimeoutError(otherwise)


def _state(member: Member) -> str:
    info = member.ask("CLUSTER", "INFO")
    facts = (
        info
        if isinstance(info, dict)
        else dict(line.split(":", 1) for line in str(info, "ascii").split())
    )
    return str(facts["cluster_state"])


def _knows(member: Member, count: int) -> bool:
    seen = {node[1] for _, _, *nodes in member.ask("CLUSTER", "SLOTS") for node in nodes}
    return _state(member) == "ok" and len(seen) == count


def _in_step(member: Member) -> bool:
    role = member.ask("ROLE")
    return bool(role[0] == b"master" or role[3] == b"connected")


def _follow(replica: Member, master: str) -> None:
    def taken() -> bool:
        replica.ask("CLUSTER", "REPLICATE", master)
        return True

    until(taken, "the replica does not know its master")
