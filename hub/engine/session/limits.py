"""How many sessions this node takes: in all, from one address, and a second."""

from __future__ import annotations

import asyncio

from hub.engine.session.options import Options, Refusal
from protocol.address import counted_as


class Limits:
    """Counts open sessions; refuses the excess."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._by_network: dict[str, int] = {}
        self.open = 0
        self._tokens = float(options.accept_rate)
        self._filled_at = 0.0

    def take(self, address: str) -> Refusal | None:
        """Count one more session of `address`, or say why not."""
        network = counted_as(address)
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
        network = counted_as(address)
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
