"""One Redis Cluster under the whole hub: what it must show, on servers of the wheel."""

from time import monotonic

from tests.show import Item, Verdict
from tests.show.cluster import installation
from tests.show.main_job import pytest_passes
from tests.stories.cluster import faults
from tests.stories.cluster.clustered import Clustered
from tests.stories.cluster.faults import Fault, Result

FROZEN_S = 10.0
PLAN = faults.Plan(clients=300, rate=480, stored=20, before_s=3, after_s=10)
AFTER_A_LOSS_S = 5.0
AFTER_A_SWITCH_S = 0.5
"""s until everybody hears again: of an owner that was lost, and of a planned switch or move."""


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
    return result.adds_up(new_epoch=True) and not result.dropped and result.hearing_s <= within_s


def same_tests() -> Verdict:
    """Those of a single server, on three masters with replicas and on one node that dies."""
    return pytest_passes("tests/hub/cluster", "-n", "2", REDIS_OF_TESTS="cluster")


def peers() -> Verdict:
    return pytest_passes("tests/hub/cluster/test_node_peers.py", REDIS_OF_TESTS="cluster")


ITEMS = [
    Item("1", "the slot's owner killed, frozen, switched, the slot moved", owner_lost),
    Item("2", "the tests of tests/hub/cluster on a cluster", same_tests),
    Item("5", "official emitter and Node server, both ways, on a cluster", peers),
]
