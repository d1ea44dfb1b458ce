"""How many sessions this node takes: in all, from one address, and a second."""

from __future__ import annotations

import asyncio
import ipaddress

from .options import Options, Refusal


def network_of(address: str) -> str:
    """What is counted as one address: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


def peer_address(direct: str, forwarded: str | None, hops: int) -> str:
    """The client's address behind ``hops`` trusted proxies.

    Each proxy appends the peer it saw to X-Forwarded-For, so with n trusted hops the n-th entry
    from the right was written by a proxy we trust; anything further left is the client's word.
    """
    if hops <= 0 or not forwarded:
        return direct
    chain = [part.strip() for part in forwarded.split(",")]
    return chain[-hops] if len(chain) >= hops else chain[0]


class Limits:
    """Counts open sessions; refuses the excess."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._by_network: dict[str, int] = {}
        self.open = 0
        self._tokens = float(options.accept_rate)
        self._filled_at = 0.0

    def take(self, address: str) -> Refusal | None:
        """Count one more session of ``address``, or say why not."""
        network = network_of(address)
        held = self._by_network.get(network, 0)
        if self.open >= self._options.conn_max_node:
            return Refusal("node_full", 5)
        if held >= self._options.conn_max_ip:
            return Refusal("ip_full", 5)
        if not self._accept():
            return Refusal("accept_rate", 1)
        self.open += 1
        self._by_network[network] = held + 1
        return None

    def release(self, address: str) -> None:
        network = network_of(address)
        self.open -= 1
        left = self._by_network[network] - 1
        if left:
            self._by_network[network] = left
        else:
            del self._by_network[network]

    def _accept(self) -> bool:
        """A bucket of one second's accepts."""
        rate = float(self._options.accept_rate)
        now = asyncio.get_running_loop().time()
        self._tokens = min(rate, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
