"""How many TCP connections one door takes, so that nobody has all of them and descriptors are left
for stores, logs and health.

They are counted from their first byte on, whatever they carry: a session by polling has two, and
whoever has sent nothing yet has one.
"""

import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from hub.plumbing.telemetry.metrics import CONNECTIONS_REFUSED
from protocol.address import counted_as

KEPT_BACK: Final = 256
"""Descriptors that no connection of a door gets; of few, a quarter."""

BESIDE: Final = 64


@dataclass(slots=True)
class Process:
    """All doors together, as they share one table of descriptors."""

    open: int = 0


PROCESS: Final = Process()


class Connections:
    """`each` is for an address (None: as many as there are, where all come from a proxy), `most`
    for this door. `spared` is for doors that must answer when others are full: it takes half of
    what is kept back.
    """

    def __init__(self, each: int | None, most: int, *, spared: bool = False) -> None:
        self.each = each
        self.most = most
        self.open = 0
        self.most_of_process = descriptors(spared=spared)
        self._by_network: dict[str, int] = {}

    def take(self, address: str) -> bool:
        """Count one more of `address`; False when it has to be closed."""
        network = counted_as(address) if self.each is not None else ""
        held = self._by_network.get(network, 0)
        if self.each is not None and held >= self.each:
            return self._refused("address")
        if self.open >= self.most or PROCESS.open >= self.most_of_process:
            return self._refused("process")
        self._by_network[network] = held + 1
        self.open += 1
        PROCESS.open += 1
        return True

    def release(self, address: str) -> None:
        """One that was taken is closed."""
        network = counted_as(address) if self.each is not None else ""
        left = self._by_network.pop(network) - 1
        if left:
            self._by_network[network] = left
        self.open -= 1
        PROCESS.open -= 1

    def _refused(self, reason: Literal["address", "process"]) -> bool:
        CONNECTIONS_REFUSED.labels(reason=reason).inc()
        return False


def connections_of_door(
    hops: int, per_address: int, per_process: int, *, spared: bool = False
) -> Connections:
    """By the limits of sessions (CONN_MAX_IP, CONN_MAX_NODE): one by polling has two connections,
    and browsers open some ahead. Behind a proxy all come from one address, and the proxy's own
    limits hold for its clients."""
    each = None if hops else 2 * per_address + BESIDE
    return Connections(each, 2 * per_process + BESIDE, spared=spared)


def descriptors(*, spared: bool = False) -> int:
    """How many of this process may be connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 62
    kept = min(KEPT_BACK, soft // 4)
    return soft - (kept // 2 if spared else kept)


def raise_descriptors() -> None:
    """Take as many descriptors as this process is allowed: shells and systemd begin with 1024, for
    programs that call select(), which none of ours does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS says "unlimited" and takes less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
