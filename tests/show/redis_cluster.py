"""One Redis Cluster under the whole hub: what it must show, on servers of the wheel."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

from tests.hub.cluster.slots import TAG, Slots
from tests.hub.cluster.valkey import Valkey
from tests.show import Item, Verdict
from tests.show.cluster import installation
from tests.show.engine_before import unpack
from tests.show.main_job import pytest_passes
from tests.show.redis_cost import Cost, Names, cost, settle_in
from tests.show.region_load import regions
from tests.show.stores import fresh_databases
from tests.stories.cluster import faults, lossy, two_regions
from tests.stories.cluster.clustered import Clustered
from tests.stories.cluster.faults import Fault, Result
from tests.stories.cluster.two_regions import open_country

FROZEN_S = 10.0
PLAN = faults.Plan(clients=300, rate=480, stored=20, before_s=3, after_s=10)
AFTER_A_LOSS_S = 5.0
AFTER_A_SWITCH_S = 0.5
"""s until everybody hears again: of an owner that was lost, and of a planned switch or move."""


REPS = 3
DEARER_AT_MOST = 1.15
BEFORE = "6794feb"
"""The last one that knew no Redis Cluster."""


def _faults(store: Clustered) -> dict[str, tuple[Fault, float]]:
    """Seven, one after the other, and the time each may take."""
    kills = {f"killed -9 ({n})": (store.kill, AFTER_A_LOSS_S) for n in (1, 2, 3)}
    return {
        **kills,
        "frozen": (lambda: store.freeze(FROZEN_S), AFTER_A_LOSS_S),
        "CLUSTER FAILOVER": (store.switch, AFTER_A_SWITCH_S),
        "slot moved": (store.move, AFTER_A_SWITCH_S),
        "slot moved on": (store.move, AFTER_A_SWITCH_S),
    }


async def owner_lost() -> Verdict:
    """Three hub nodes, a worker, 300 clients, 500 events a second; each fault with clients of its
    own, so that what they heard can be added up."""
    figures: list[str] = []
    passed = True
    async with installation(3, store=Clustered) as (nodes, store):
        assert isinstance(store, Clustered)
        for name, (fault, within_s) in _faults(store).items():
            begin = monotonic()
            result = await faults.play(nodes, fault, PLAN)
            right = _right(result, within_s)
            passed = passed and right
            figures.append(f"[{name}{'' if right else ': WRONG'}] {result}")
            await store.mend()
            print(f"    {figures[-1]} ({monotonic() - begin:.0f} s)", flush=True)
    return Verdict(passed, f"{len(figures)} faults, as told above")


def _right(result: Result, within_s: float) -> bool:
    """Readiness stays: all nodes lose the same master, and each refuses for itself meanwhile."""
    told = result.adds_up(new_epoch=True) and not result.dropped and not result.unready
    return told and result.hearing_s <= within_s


async def costs() -> Verdict:
    """The same events on a single server, today and before there was a cluster, on one with a
    replica, and on a cluster, whose masters have one each: the kinds in turn, REPS times. What is
    promised is that a single server's cost has not grown.
    """
    single, slots, led = Valkey(), Slots(), Valkey()
    replica = Valkey("--replicaof", "127.0.0.1", str(led.port))
    alone = Names(single.url, "hub:", "one", False)
    leading = Names(led.url, "hub:", "led", False)
    inside = Names(slots.url, TAG, "many", True)
    ports = [member.port for member in slots.members]
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder)
        unpack(BEFORE, before)
        settle_in(before)
        kinds: dict[str, Callable[[], Awaitable[Cost]]] = {
            "before": lambda: cost(alone, [single.port], tree=before),
            "single": lambda: cost(alone, [single.port]),
            "with a replica": lambda: cost(leading, [led.port, replica.port]),
            "cluster": lambda: cost(inside, ports),
            "classic out": lambda: cost(inside, ports, classic_out=True),
            "wait 1": lambda: cost(inside, ports, replicas=1),
        }
        try:
            found: dict[str, list[Cost]] = {kind: [] for kind in kinds}
            for _ in range(REPS):
                for kind, measure in kinds.items():
                    found[kind].append(await measure())
        finally:
            for servers in (single, replica, led, slots):
                servers.close()
    middle = {
        kind: sorted(runs, key=lambda one: one.whole)[REPS // 2] for kind, runs in found.items()
    }
    grown = middle["single"].whole / middle["before"].whole
    figures = "; ".join(f"{kind}: {one}" for kind, one in middle.items())
    of_single, of_led = (
        middle["cluster"].whole / middle[kind].whole for kind in ("single", "with a replica")
    )
    return Verdict(
        grown <= DEARER_AT_MOST,
        f"{figures}; a single server {grown:.2f} of before ({BEFORE}), a cluster {of_single:.2f} of"
        f" a single server and {of_led:.2f} of one with a replica",
    )


async def travellers() -> Verdict:
    """Two installations with hubs and workers of their own; the owner of jeju's slot dies, too."""
    slots = Slots()
    try:
        async with (
            fresh_databases("jeju", "busan") as (databases, folder),
            open_country(slots.url, databases, folder) as country,
        ):
            result = await two_regions.play(
                country, two_regions.Plan(), lambda: asyncio.to_thread(slots.kill_owner, "{jeju}:")
            )
    finally:
        slots.close()
    return Verdict(result.right, str(result))


def same_tests() -> Verdict:
    """Those of a single server, on three masters with replicas and on one node that dies."""
    return pytest_passes("tests/hub/cluster", "-n", "2", REDIS_OF_TESTS="cluster")


def peers() -> Verdict:
    return pytest_passes("tests/hub/cluster/test_node_peers.py", REDIS_OF_TESTS="cluster")


async def lossy_failover() -> Verdict:
    async with installation(2, store=Clustered) as (nodes, store):
        assert isinstance(store, Clustered)
        result = await lossy.play(nodes, store, lossy.Plan())
    return Verdict(result.clean, str(result))


ITEMS = [
    Item("1", "the slot's owner killed, frozen, switched, the slot moved", owner_lost),
    Item("2", "the tests of tests/hub/cluster on a cluster", same_tests),
    Item("3", "CPU a message: single server, cluster, classic out, REDIS_WAIT=1", costs),
    Item("4", "two regions on two masters", regions),
    Item("5", "official emitter and Node server, both ways, on a cluster", peers),
    Item("6", "the owner killed, a replica that was left behind promoted", lossy_failover),
    Item("7", "a traveller of one region in another: told in both, one inbox", travellers),
]
