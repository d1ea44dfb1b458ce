import asyncio
from datetime import UTC, datetime

from hub.plumbing.http.health import Health, examine, live_body, ready_body, startup_body

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


async def works() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    raise ConnectionError("redis://:hunter2@db is away")


async def hangs() -> None:
    await asyncio.Event().wait()


def health(**checks: bool) -> Health:
    return Health(checks, frozenset({"redis"}), {name: 1.5 for name, up in checks.items() if up})


def test_a_ready_body_serves_clients_of_both_sources() -> None:
    assert ready_body(health(database=True, redis=True), NOW) == (
        200,
        {
            "status": "ok",
            "ready": True,
            "timestamp": "2026-11-21T09:00:00.000Z",
            "checks": {"database": True, "redis": True},
            "info": {
                "database": {"status": "up", "latencyMs": 1.5},
                "redis": {"status": "up", "latencyMs": 1.5},
            },
        },
    )


def test_what_is_only_reported_never_ends_readiness() -> None:
    status, body = ready_body(health(database=False, redis=True), NOW)
    assert status == 200
    assert body["checks"] == {"database": False, "redis": True}
    assert body["info"]["database"] == {"status": "down"}


def test_what_is_needed_ends_readiness() -> None:
    status, body = ready_body(health(database=True, redis=False), NOW)
    assert status == 503
    assert (body["status"], body["ready"], body["error"]) == ("not ready", False, "down: redis")


def test_a_process_that_stops_is_not_ready_whatever_works() -> None:
    going = Health({"redis": True}, frozenset({"redis"}), {}, going_away=True)
    status, body = ready_body(going, NOW)
    assert (status, body["error"]) == (503, "shutting down")


async def test_all_checks_run_at_once_within_the_time() -> None:
    start = asyncio.get_running_loop().time()
    found = await examine(
        {"redis": works, "bus": hangs, "other": hangs}, {"database": fails}, timeout_s=0.2
    )
    assert asyncio.get_running_loop().time() - start < 2
    assert found.checks == {"redis": True, "bus": False, "other": False, "database": False}
    assert found.latencies_ms.keys() == {"redis"}
    status, body = ready_body(found, NOW)
    assert (status, body["error"]) == (503, "down: bus, other")
    assert "hunter2" not in repr(body)


async def test_nothing_needed_is_ready() -> None:
    assert ready_body(await examine({}, {}), NOW)[0] == 200


def test_live_and_startup_bodies() -> None:
    assert live_body(NOW) == (200, {"status": "ok", "timestamp": "2026-11-21T09:00:00.000Z"})
    assert startup_body(True) == (200, {"status": "started", "initialized": True})
    assert startup_body(False) == (503, {"status": "starting", "initialized": False})
