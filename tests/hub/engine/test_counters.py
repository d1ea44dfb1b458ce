"""What is counted, and the clock of deadlines."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CollectorRegistry, generate_latest

from hub.engine import Server
from hub.engine.session.process import INTERVAL, watch_lag
from hub.engine.session.wheel import Wheel

from .wire import Site


async def test_metrics(sio: Server, site: Site) -> None:
    registry = CollectorRegistry()
    registry.register(sio.collector())
    async with site.wire() as wire, site.wire() as bad:
        await wire.connect()
        await wire.connect("/custom")
        await sio.emit("x", 1)
        await wire.text()
        await bad.put("nonsense")
        await bad.closed()
        page = generate_latest(registry).decode()
    for line in (
        'active_connections{namespace="/"} 1.0',
        'active_connections{namespace="/custom"} 1.0',
        'engine_opened_total{transport="websocket"} 2.0',
        'engine_rejected_total{fault="engine_packet"} 1.0',
        'engine_closed_total{reason="bad packet"} 1.0',
        'engine_dropped_total{class="volatile"} 0.0',
        "engine_slow_consumers_total 0.0",
        'engine_frames_total{direction="in"} 3.0',
        "engine_backlog_bytes 0.0",
    ):
        assert line in page, page


async def test_loop_lag(sio: Server) -> None:
    watch = asyncio.create_task(watch_lag(sio.book.counters))
    await asyncio.sleep(0)
    time.sleep(INTERVAL + 0.2)  # what the gauge is to show
    async with asyncio.timeout(5):
        while sio.book.counters.loop_lag < 0.15:
            await asyncio.sleep(0)
    watch.cancel()


async def test_wheel() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    done: dict[str, float] = {}
    finished = asyncio.Event()

    def due(name: str) -> None:
        done[name] = loop.time() - start
        if len(done) == 3:
            finished.set()

    wheel: Wheel[str] = Wheel(0.01, due)
    wheel.drop("dropped", wheel.add("dropped", 0.02))
    for name, delay in (("c", 0.06), ("a", 0.0), ("b", 0.03)):
        wheel.add(name, delay)
    await asyncio.wait_for(finished.wait(), 5)
    assert list(done) == ["a", "b", "c"]
    assert done["b"] >= 0.029  # the loop counts milliseconds
    assert done["c"] >= 0.059
    assert len(wheel) == 0
    wheel.add("late", 60)
    assert len(wheel) == 1
    wheel.close()
