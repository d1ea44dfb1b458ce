"""The cluster: what it must show, by real processes, with counts."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.domain.assembly import open_domain
from hub.embedded import valkey
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.logs import configure
from protocol.events import Emit
from protocol.names import Channels, Keys
from tests.benchmarks.runs import both_nodes, median, node_cpu, run
from tests.conftest import SECRETS
from tests.show import Item, Verdict
from tests.show.main_job import pytest_passes
from tests.show.stores import fresh_stores
from tests.stories.cluster import faults, idle, kills, presence, rolling
from tests.stories.cluster.nodes import Nodes, open_nodes
from tests.stories.cluster.stores import Alone, Store, Watched

FROZEN_S = 10
KINDS = NODE, HUB, LOGGED = ["node-redis", "hub-cluster", "hub-cluster-logged"]
REPS = 5
PUBLISHED = 5000


@asynccontextmanager
async def installation(
    count: int,
    settings: Mapping[str, str] | None = None,
    store: Callable[[Path], Store] | None = None,
) -> AsyncIterator[tuple[Nodes, Store | None]]:
    """Nodes and a worker on durable stores of their own; with `store` on one that may die."""
    async with fresh_stores() as stores:
        dying = store(stores.folder) if store is not None else None
        where = {"REDIS_URL": stores.redis_url} if dying is None else dying.settings
        if dying is not None:
            await dying.start()
        own = {"APP_ENV": "test", "LOG_LEVEL": "error", "DATABASE_URL": stores.database_url}
        known = Settings.load({**own, **where, **SECRETS})
        configure(known)  # a service warns of each publish that fails: that is what is counted
        life = Lifecycle()
        domain = await open_domain(life, known)
        also = {**where, **(settings or {})}
        try:
            async with open_nodes(
                domain, *stores, count, also, with_worker=dying is not None
            ) as nodes:
                yield nodes, dying
        finally:
            await life.close()
            if dying is not None:
                await dying.stop()


async def killed_nodes() -> Verdict:
    async with installation(3) as (nodes, _):
        result = await kills.play(nodes, kills.Plan())
    return Verdict(result.clean, str(result))


def returns() -> Verdict:
    return pytest_passes(
        "tests/stories/cluster/test_returns.py", "tests/hub/sockets/test_recovery.py"
    )


def node_peers() -> Verdict:
    return pytest_passes("tests/hub/cluster/test_node_peers.py")


def empty_node() -> Verdict:
    """node1 has no members of r0: what a message costs it, at 10 deliveries a message."""
    rows = run("S4empty", KINDS, REPS)
    cost = {kind: 10 * median(rows, kind, lambda row: node_cpu(row, "node1")) for kind in KINDS}
    passed = cost[HUB] < 30 and cost[HUB] < 0.2 * cost[NODE] and cost[LOGGED] < 30
    figures = " ".join(f"{kind}={us:.1f}us" for kind, us in cost.items())
    return Verdict(passed, f"{figures} a message ({cost[HUB] / cost[NODE]:.2f} of {NODE})")


def busy_nodes() -> Verdict:
    """CPU a delivery over both nodes, and what the publishing script costs Redis."""
    rows = run("S4", KINDS, REPS)
    cost = {kind: median(rows, kind, both_nodes) for kind in KINDS}
    lost = sum(int(row["incomplete"]) for found in rows.values() for row in found)
    script = asyncio.run(script_cost())
    figures = " ".join(f"{kind}={us:.2f}us" for kind, us in cost.items())
    ratio = cost[HUB] / cost[NODE]
    return Verdict(
        ratio <= 0.6 and not lost,
        f"{figures} a delivery ({ratio:.2f} of {NODE}), lost {lost}; the script that logs and"
        f" publishes costs Redis {script:.0f}us an event",
    )


async def script_cost() -> float:
    """µs of Redis's CPU for each event through the script (INFO commandstats)."""
    with tempfile.TemporaryDirectory(prefix="show-") as name:
        async with valkey(Path(name) / "valkey", durable=False) as url:
            line = Line(Server.of(url))
            emitter = Emitter(line, Keys(), Channels())
            for number in range(PUBLISHED):
                data = {"id": str(number), "title": "x" * 168}
                rooms = (f"question:{number % 100}",)
                await emitter.publish([Emit(id=str(number), event="news", rooms=rooms, data=data)])
            stats = (await line.call("INFO", "commandstats")).decode()
            await line.close()
    found = re.search(r"cmdstat_evalsha:calls=\d+,usec=\d+,usec_per_call=([\d.]+)", stats)
    assert found is not None
    return float(found[1])


async def restarted() -> Verdict:
    async with installation(2, store=Alone) as (nodes, store):
        assert isinstance(store, Alone)
        result = await faults.play(nodes, store.restart, faults.Plan())
    return Verdict(result.adds_up(new_epoch=True) and not result.dropped, str(result))


async def stopped() -> Verdict:
    async with installation(2, store=Alone) as (nodes, store):
        assert isinstance(store, Alone)
        frozen = store
        result = await faults.play(nodes, lambda: frozen.freeze(FROZEN_S), faults.Plan())
    return Verdict(result.adds_up(new_epoch=False) and not result.dropped, str(result))


async def failed_over() -> Verdict:
    async with installation(2, store=Watched) as (nodes, store):
        assert isinstance(store, Watched)
        result = await faults.play(nodes, store.fail_over, faults.Plan())
    return Verdict(result.adds_up(new_epoch=True) and not result.dropped, str(result))


async def rolling_restart() -> Verdict:
    async with installation(3) as (nodes, _):
        result = await rolling.play(nodes, rolling.Plan())
        allowed = nodes.settings.sockets.drain_rate
    passed = result.account.clean and not result.account.told and result.gap(0.99) < 2
    return Verdict(
        passed and result.busiest <= allowed and result.codes == [0, 0, 0],
        f"{result} (DRAIN_RATE {allowed})",
    )


async def no_ghost() -> Verdict:
    async with installation(2) as (nodes, _):
        result = await presence.play(nodes, nodes.settings.sockets.presence_ttl_s)
    return Verdict(result.right, str(result))


def properties() -> Verdict:
    return pytest_passes(
        "tests/protocol/test_redis_wire.py",
        "tests/hub/cluster/test_recovery_model.py",
        HYPOTHESIS_PROFILE="fuzz",
    )


async def idle_sockets() -> Verdict:
    idle.allow_many_files()
    async with installation(2) as (nodes, _):
        result = await idle.play(nodes, idle.Plan())
    return Verdict(result.heard == result.expected and not result.dropped, str(result))


ITEMS = [
    Item("3.1", "nodes killed -9 under traffic", killed_nodes),
    Item("3.1b", "every way of coming back", returns),
    Item("3.2", "official emitter and Node server, both ways", node_peers),
    Item("3.3", "a node without members (S4empty)", empty_node),
    Item("3.3b", "two nodes with members (S4)", busy_nodes),
    Item("3.4", "Redis restarted", restarted),
    Item("3.4b", "Redis stopped for 10 s", stopped),
    Item("3.4c", "failed over by Sentinels", failed_over),
    Item("3.5", "rolling restart, 2,000 sockets", rolling_restart),
    Item("3.6", "presence after kill -9", no_ghost),
    Item("3.7", "properties of wire and recovery", properties),
    Item("3.8", "10,000 idle sockets (G10)", idle_sockets),
]
