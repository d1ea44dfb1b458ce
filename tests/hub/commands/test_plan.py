"""`dongne plan` by numbers that can be worked out by hand, and `dongne bench` on a small scale."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.commands.passport import bench_command
from hub.commands.plan import LOAD, MEMORY, RETURN_S, Need, Passport, plan, plan_command

PASSPORT = Passport(
    at="2026-11-27T12:00:00+00:00",
    machine="a machine",
    cores=2,
    python="3.11.7",
    version="0.1.0",
    sockets=500,
    base_mib=84.0,
    socket_kib=10.0,
    connect_us=1000.0,
    delivery_us=6.0,
    redis_event_us=200.0,
)
QUIET = Need(sockets=1, deliveries_s=0, events_s=0)


def test_memory_bounds_where_nothing_else_does() -> None:
    """(512 × 0.75 - 84) MiB at 10 KiB a socket are 30,720 sockets a node."""
    free = replace(PASSPORT, connect_us=0.0)
    need = replace(QUIET, node_sockets=1_000_000)
    assert plan(free, replace(need, sockets=30_720)).nodes == 2
    found = plan(free, replace(need, sockets=30_721))
    assert (found.nodes, found.bound_by) == (3, "memory")
    assert found.node_sockets == 15_361


def test_deliveries_take_the_planned_share_of_a_core() -> None:
    """6 us each: 100,000 a second are 0.6 of a core, which is one node's."""
    at_the_bound = replace(QUIET, deliveries_s=100_000, events_s=1000)
    found = plan(PASSPORT, at_the_bound)
    assert (found.nodes, found.node_load, found.redis_load) == (2, LOAD, 0.2)
    more = plan(PASSPORT, replace(at_the_bound, deliveries_s=100_001))
    assert (more.nodes, more.bound_by) == (3, "deliveries")


def test_the_limit_of_a_node_bounds() -> None:
    found = plan(replace(PASSPORT, connect_us=0.0), replace(QUIET, sockets=20_001))
    assert (found.nodes, found.bound_by) == (3, "CONN_MAX_NODE")


def test_a_stop_is_as_long_as_its_people_take_to_come_back() -> None:
    """20,000 at 100 a second, of which a drain sends 80, and 15 s around them."""
    found = plan(replace(PASSPORT, connect_us=0.0), replace(QUIET, sockets=20_000))
    assert found.stop_s == 20_000 / 80 + 15
    slower = replace(QUIET, sockets=20_000, drain_rate=50)
    assert plan(replace(PASSPORT, connect_us=0.0), slower).stop_s == 20_000 / 40 + 15


@given(
    sockets=st.integers(1, 10_000_000),
    deliveries_s=st.floats(0, 1e8),
    connect_us=st.floats(0, 10_000),
)
def test_when_one_node_goes_the_others_carry_everybody(
    sockets: int, deliveries_s: float, connect_us: float
) -> None:
    passport = replace(PASSPORT, connect_us=connect_us)
    need = Need(sockets, deliveries_s, 0)
    found = plan(passport, need)
    left = found.nodes - 1
    assert left * need.node_sockets >= sockets
    on_one = sockets / left
    assert on_one * passport.socket_kib / 1024 <= need.node_mib * MEMORY - passport.base_mib + 1e-6
    assert deliveries_s * passport.delivery_us / 1e6 / left <= LOAD + 1e-9
    coming_back = sockets / found.nodes * connect_us / 1e6 / RETURN_S / left
    assert coming_back == pytest.approx(found.return_load)
    assert coming_back <= 1 - LOAD + 1e-9


@pytest.mark.parametrize(
    "need",
    [
        replace(QUIET, sockets=0),
        replace(QUIET, events_s=-1),
        replace(QUIET, node_mib=100),  # 75 MiB, and the process alone takes 84
    ],
)
def test_what_cannot_be_planned_is_refused(need: Need) -> None:
    with pytest.raises(ValueError, match=r"sockets must be|do not hold"):
        plan(PASSPORT, need)


def test_a_file_that_is_no_passport_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "passport.json"
    assert plan_command(str(file), QUIET) == 1
    file.write_text('{"cores": "two"}')
    assert plan_command(str(file), QUIET) == 1
    assert capsys.readouterr().err.count(str(file)) == 3  # the first error names it, too
    file.write_bytes(msgspec.json.encode(PASSPORT))
    assert plan_command(str(file), QUIET) == 0
    assert "nodes         2, one of them to spare" in capsys.readouterr().out


@pytest.mark.story
def test_a_machine_measures_itself(tmp_path: Path) -> None:
    """A hub of its own with a few sockets: figures of a size that only real work has."""
    file = tmp_path / "passport.json"
    assert bench_command(100, 60, str(file)) == 0
    found = msgspec.json.decode(file.read_bytes(), type=Passport)
    assert found.sockets == 100
    assert 30 < found.base_mib < 300
    assert 0 < found.socket_kib < 200
    assert 100 < found.connect_us < 50_000
    assert 0.5 < found.delivery_us < 500
    assert 10 < found.redis_event_us < 10_000
