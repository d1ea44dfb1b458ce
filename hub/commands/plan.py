"""`dongne plan`: how many nodes carry so many sockets, from what a machine's passport says."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from typer import echo

from hub.sockets.drain import DRAIN_SHARE

LOAD: Final = 0.6
"""Share of a core that events may take: bursts and returns need the rest."""

MEMORY: Final = 0.75
"""Share of a node's memory that is planned with: readers that fall behind need the rest."""

RETURN_S: Final = 10.0
"""Within so long everybody of a node that died connects again, on the others."""

STOP_S: Final = 15.0
"""Of a stop: before and after its people are sent away."""


@dataclass(frozen=True, slots=True)
class Passport:
    """What this hub costs on one machine, as `dongne bench` measured it.

    A node is one process on one core. `base_mib`: with nobody connected; `socket_kib`: for each
    socket more; `connect_us`: CPU of one connection from its first byte to `ready`; `delivery_us`:
    CPU of one event at one socket; `redis_event_us`: CPU of Redis for one event, whatever the
    number of its sockets.
    """

    at: str
    machine: str
    cores: int
    python: str
    version: str
    sockets: int
    base_mib: float
    socket_kib: float
    connect_us: float
    delivery_us: float
    redis_event_us: float


@dataclass(frozen=True, slots=True)
class Need:
    """What is to be carried. `deliveries_s`: events a second times the sockets that hear each;
    `events_s`: the events themselves, for Redis."""

    sockets: int
    deliveries_s: float
    events_s: float
    node_mib: float = 512
    node_sockets: int = 20_000
    """CONN_MAX_NODE."""
    drain_rate: float = 100
    """DRAIN_RATE."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`nodes` with one to spare: the others carry everybody when one goes. Shares of one core.
    `stop_s`: of a node whose people come back to one other node, as in a blue/green release.
    """

    nodes: int
    node_sockets: int
    node_mib: float
    node_load: float
    return_load: float
    redis_load: float
    stop_s: float
    bound_by: str


def plan(passport: Passport, need: Need) -> Plan:
    """Raises ValueError where one node cannot even carry itself, or a figure is no such figure."""
    if need.sockets < 1 or min(need.deliveries_s, need.events_s) < 0:
        raise ValueError("sockets must be 1 or more, and rates 0 or more")
    room_kib = (need.node_mib * MEMORY - passport.base_mib) * 1024
    if room_kib < passport.socket_kib:
        raise ValueError(f"{need.node_mib:g} MiB do not hold a process of {passport.base_mib:.0f}")
    returning_us = passport.connect_us * need.sockets / RETURN_S
    bounds = {
        "memory": need.sockets * passport.socket_kib / room_kib,
        "CONN_MAX_NODE": need.sockets / need.node_sockets,
        "deliveries": need.deliveries_s * passport.delivery_us / 1e6 / LOAD,
        # a node that died had a share of all, and the others share that: n (n - 1) is about n²
        "returns": math.sqrt(returning_us / 1e6 / (1 - LOAD)),
    }
    bound_by = max(bounds, key=lambda name: bounds[name])
    carrying = max(1, math.ceil(bounds[bound_by]))
    on_one = math.ceil(need.sockets / carrying)
    return Plan(
        nodes=carrying + 1,
        node_sockets=on_one,
        node_mib=passport.base_mib + on_one * passport.socket_kib / 1024,
        node_load=need.deliveries_s * passport.delivery_us / 1e6 / carrying,
        return_load=returning_us / 1e6 / (carrying + 1) / carrying,
        redis_load=need.events_s * passport.redis_event_us / 1e6,
        stop_s=on_one / (need.drain_rate * DRAIN_SHARE) + STOP_S,
        bound_by=bound_by,
    )


def plan_command(file: str, need: Need) -> int:
    """The exit code; what is wrong stands on stderr."""
    try:
        passport = msgspec.json.decode(Path(file).read_bytes(), type=Passport)
        found = plan(passport, need)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        echo(f"{file}: {error}", err=True)
        return 1
    echo(f"nodes         {found.nodes}, one of them to spare (bound by {found.bound_by})")
    echo(f"a node        {found.node_sockets} sockets, {found.node_mib:.0f} MiB")
    echo(f"  events      {found.node_load:.0%} of a core")
    echo(f"  returns     {found.return_load:.0%} of a core for {RETURN_S:.0f} s when a node died")
    stop_ms = math.ceil(found.stop_s) * 1000
    echo(f"  stop        {stop_ms // 1000} s at DRAIN_RATE (SHUTDOWN_TIMEOUT={stop_ms})")
    echo(f"Redis         {found.redis_load:.0%} of a core for events")
    echo(f"measured      {passport.at} on {passport.machine}, version {passport.version}")
    return 0
