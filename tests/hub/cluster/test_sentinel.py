"""A real failover: a master, two replicas and three Sentinels of the wheel; the master is killed
while events are published.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from hub.cluster.emitter import Emitter, LogLimits
from hub.cluster.line import Line
from hub.cluster.link import Link
from hub.cluster.recovery import Replay
from hub.cluster.replay import Refusal
from hub.cluster.server import Server
from tests.hub.cluster.nodes import Names, Node, until
from tests.hub.cluster.outbox import Outbox
from tests.hub.cluster.valkey import Valkey

PASSWORD = "sesame"
HASTE = ("info-period", "500", "publish-period", "200")
"""ms; by default a Sentinel looks at a replica every 10 s and says hello to others every 2 s."""


class Sentinels:
    """`url` is what the settings of a hub would hold."""

    def __init__(self) -> None:
        quick = ("--repl-diskless-sync-delay", "0")
        access = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, *quick)
        self.master = Valkey(*access)
        replica_of = ("--replicaof", "127.0.0.1", str(self.master.port))
        self.replicas = [Valkey(*access, *replica_of) for _ in range(2)]
        self.sentinels = [self._sentinel() for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        self.url = f"redis-sentinel://:{PASSWORD}@{hosts}?master=main"

    def _sentinel(self) -> Valkey:
        lines = [
            f"sentinel monitor main 127.0.0.1 {self.master.port} 2",
            f"sentinel auth-pass main {PASSWORD}",
            "sentinel down-after-milliseconds main 1000",
            "sentinel failover-timeout main 5000",
        ]
        return Valkey(config="\n".join(lines))

    def close(self) -> None:
        for one in (*self.sentinels, *self.replicas, self.master):
            one.close()

    async def ready(self) -> None:
        """Every Sentinel knows the two others and both replicas, which are in step."""
        async with asyncio.timeout(60):
            links = [await Server.of(sentinel.url).open("test") for sentinel in self.sentinels]
            for link in links:
                await link.command("SENTINEL", "DEBUG", *HASTE)
            for link in links:
                while not await self._knows(link):
                    await asyncio.sleep(0.1)
                link.close()
            line = Line(Server.of(f"redis://:{PASSWORD}@127.0.0.1:{self.master.port}"))
            await line.call("SET", "in-step", "1")
            while await line.call("WAIT", 2, 100) < 2:
                pass
            await line.close()

    @staticmethod
    async def _knows(link: Link) -> bool:
        found = await link.command("SENTINEL", "MASTER", "main")
        facts: dict[bytes, bytes] = dict(zip(found[::2], found[1::2], strict=True))
        return facts[b"num-slaves"] == b"2" and facts[b"num-other-sentinels"] == b"2"


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    servers = Sentinels()
    yield servers
    servers.close()


@pytest.mark.single_server
async def test_a_failover_is_survived(sentinels: Sentinels, names: Names) -> None:
    await sentinels.ready()
    a, b = await Node(sentinels.url, names).start(), await Node(sentinels.url, names).start()
    sockets = await a.join("s1", "r"), await b.join("s2", "r")
    session = await a.cluster.sessions.open(
        pid="p1", user="mina", sid="s3", namespace="/", token="t", rooms=["r"]
    )
    line = Line(Server.of(sentinels.url), "service")
    outbox = Outbox(Emitter(line, *names, LogLimits()))

    await outbox.publish_for(1.0)
    first_epoch = outbox.epoch
    sentinels.master.kill()
    killed = time.monotonic()
    await outbox.publish_until(lambda: outbox.epoch > first_epoch)
    came_back = time.monotonic()
    await until(lambda: a.cluster.bus.ready and b.cluster.bus.ready, within=5)
    listening = time.monotonic()
    await outbox.publish_for(1.0)
    await outbox.sweep()
    await a.heard_all()
    await b.heard_all()

    for socket in sockets:
        times = Counter(socket.ids)
        assert set(times) == set(outbox.all), "nothing is lost, nothing is left over"
        again = {id_ for id_, count in times.items() if count > 1}
        assert again <= outbox.swept, "only what was published again may come again"
    assert outbox.failed, "the fault was felt"
    assert listening - came_back < 5
    taken = await b.cluster.sessions.claim(pid="p1", user="mina", namespace="/", token="t2")
    if taken is not None:  # a replica may have missed the very last writes
        found = await b.cluster.recovery.replay(session, None, ["r"])
        assert found is Refusal.EPOCH
    print(
        f"failover: {came_back - killed:.1f} s, listening {listening - came_back:.2f} s later,"
        f" {len(outbox.all)} events, {len(outbox.failed)} failed first, {len(outbox.swept)} swept"
    )
    for closing in (a, b):
        await closing.stop()
    await line.close()


@pytest.mark.single_server
async def test_a_manual_switch_loses_nothing_either(sentinels: Sentinels, names: Names) -> None:
    """The old master lives on as a replica: nobody may go on writing to it or listening to it."""
    await sentinels.ready()
    a = await Node(sentinels.url, names).start()
    socket = await a.join("s1", "r")
    line = Line(Server.of(sentinels.url), "service")
    outbox = Outbox(Emitter(line, *names, LogLimits()))
    await outbox.publish_for(0.5)
    first_epoch = outbox.epoch
    order = await Server.of(sentinels.sentinels[0].url).open("test")
    await order.command("SENTINEL", "FAILOVER", "main")
    order.close()
    await outbox.publish_until(lambda: outbox.epoch > first_epoch)
    await until(lambda: a.cluster.bus.ready, within=10)
    await outbox.sweep()
    await a.heard_all()
    assert set(socket.ids) == set(outbox.all)
    fresh = await a.cluster.sessions.open(
        pid="p2", user="mina", sid="s9", namespace="/", token="t", rooms=["r"]
    )
    await outbox.publish_for(0.2)
    assert isinstance(await a.cluster.recovery.replay(fresh, None, ["r"]), Replay)
    await a.stop()
    await line.close()
