"""Where an address that somebody else wrote may lead: to the public Internet, never back inside.

It is looked at where the connection is made, after the name was resolved: what is checked is what
is connected to, whatever the name says a moment later.
"""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import aiohttp

from protocol.web_push import BROWSERS_HOSTS, Subscription

_NAT64: Final = IPv6Network("64:ff9b::/96")


class NotPublic(OSError):
    """The address is one of ours, or nobody's. Its text names no address."""

    def __init__(self) -> None:
        super().__init__("no public address")


class Outbound:
    """`allow`: networks or single addresses that may be reached all the same (OUTBOUND_ALLOW).

    Raises ValueError for what is neither.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._allow = tuple(ip_network(text) for text in allow)

    def permits(self, address: str) -> bool:
        """Whether an IP address, in whatever way it is written, may be connected to."""
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if any(ip in network for network in self._allow):
            return True
        inner = _inner(ip)
        return all(one.is_global and not one.is_multicast for one in (ip, inner))

    def excepts(self, host: str) -> bool:
        """Whether an exception names this very address."""
        try:
            ip = ip_address(host)
        except ValueError:
            return False
        return any(ip in network for network in self._allow)

    def connector(self, tls: ssl.SSLContext | None = None) -> aiohttp.TCPConnector:
        """Its connections go to permitted addresses alone; others end with NotPublic."""
        return aiohttp.TCPConnector(socket_factory=self._socket, ssl=tls or True)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self.permits(str(address[0])):
            raise NotPublic
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


@dataclass(frozen=True, slots=True)
class PushServices:
    """Whose end points a browser's subscription may name: `hosts`, where `*.example.org` stands for
    every host below example.org. Without TLS only an address that `outbound` excepts."""

    hosts: tuple[str, ...] = BROWSERS_HOSTS
    outbound: Outbound = field(default_factory=Outbound)

    def take(self, subscription: Subscription) -> bool:
        host = subscription.host.removesuffix(".")
        known = any(
            host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
            for pattern in self.hosts
        )
        return known and (subscription.encrypted or self.outbound.excepts(host))


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that a gateway would make of an IPv6 one (RFC 4291 §2.5.5.2, RFC 6052,
    RFC 3056)."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
