"""Health at all its paths, with the bodies of both sources (C07–C09)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.health import Vitals
from tests.api.conftest import Door


@pytest.mark.parametrize("path", ["/api/v1/health/live", "/health/live", "/health", "/healthz"])
async def test_alive(door: Door, path: str) -> None:
    reply = await door.call("GET", path)
    assert (reply.status, reply.body["status"]) == (200, "ok")
    assert reply.body["timestamp"].endswith("Z")
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/v1/health/ready", "/health/ready", "/ready"])
async def test_ready_with_both_sources_fields(door: Door, path: str) -> None:
    reply = await door.call("GET", path)
    assert reply.status == 200
    assert reply.body["status"] == "ok"
    assert reply.body["ready"] is True
    assert reply.body["checks"] == {"database": True, "redis": True}
    assert reply.body["info"]["database"]["status"] == "up"
    assert reply.body["info"]["database"]["latencyMs"] >= 0


@pytest.mark.parametrize("path", ["/api/v1/health/startup", "/health/startup"])
async def test_started(door: Door, path: str) -> None:
    reply = await door.call("GET", path)
    assert (reply.status, reply.body) == (200, {"status": "started", "initialized": True})


async def test_a_hanging_dependency_does_not_hold_the_answer(
    open_door: Callable[..., Any],
) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async def works() -> None:
        pass

    door = await open_door(Vitals(needed={"database": works}, reported={"provider": hang}))
    async with asyncio.timeout(3):  # S2-103
        reply = await door.call("GET", "/health/ready")
    assert reply.status == 200
    assert reply.body["checks"] == {"database": True, "provider": False}


async def test_leaving_and_starting_are_told(open_door: Callable[..., Any]) -> None:
    async def works() -> None:
        pass

    async def not_yet() -> bool:
        return False

    door = await open_door(
        Vitals(needed={"database": works}, started=not_yet, leaving=lambda: True)
    )
    ready = await door.call("GET", "/ready")
    assert (ready.status, ready.body["status"]) == (503, "not ready")
    assert ready.body["error"] == "shutting down"
    started = await door.call("GET", "/health/startup")
    assert (started.status, started.body) == (503, {"status": "starting", "initialized": False})
    assert (await door.call("GET", "/health/live")).status == 200
