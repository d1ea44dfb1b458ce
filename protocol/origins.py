"""Which site a browser's request may come from (RFC 6454), by one rule for all doors."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from protocol.address import said_by_proxy

_HOST = r"([^\s/@?#:\[\]\\]*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://" + _HOST, re.IGNORECASE)
_AUTHORITY = re.compile(_HOST, re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Origin(NamedTuple):
    """In its normal form; `port` is None where the scheme has no port of its own."""

    scheme: str
    host: str
    port: int | None


@lru_cache(maxsize=256)
def parse_origin(text: str) -> Origin | None:
    """Of `https://app.example`, `wss://app.example:8443` or `file://`; None for anything else."""
    match = _ORIGIN.fullmatch(text)
    if match is None or not (match[2] or match[1].lower() not in _DEFAULT_PORTS):
        return None
    scheme = match[1].lower()
    return Origin(scheme, match[2].lower(), _port(match[3], scheme))


def is_allowed(origins: Sequence[str], hosts: Iterable[str], listed: Iterable[str]) -> bool:
    """Whether a request with these Origin lines may pass: one without, one of our own host, or one
    of the list (`*`: any).

    `hosts` are the request's Host and, behind trusted proxies, X-Forwarded-Host. Whether the client
    came by TLS is the proxy's affair, so of our own host any of http, https, ws and wss passes, and
    a default port is the same as none.
    """
    if not origins or "*" in listed:
        return True
    origin = parse_origin(origins[0]) if len(origins) == 1 else None
    if origin is None or is_listed(origins[0], listed):
        return origin is not None
    return origin.scheme in _DEFAULT_PORTS and any(_is_of(origin, host) for host in hosts)


def is_listed(origin: str, listed: Iterable[str]) -> bool:
    """Whether an origin that may pass is another site's, to whose pages our answers are shown."""
    return "*" in listed or parse_origin(origin) in map(parse_origin, listed)


def own_hosts(host: str | None, forwarded: Iterable[str], hops: int) -> list[str]:
    """The request's Host, and what the outermost trusted proxy has said it was
    (X-Forwarded-Host)."""
    return [name for name in (host, said_by_proxy(forwarded, hops)) if name]


def _is_of(origin: Origin, host: str) -> bool:
    match = _AUTHORITY.fullmatch(host)
    if match is None or not match[1]:
        return False
    return (match[1].lower(), _port(match[2], origin.scheme)) == origin[1:]


def _port(text: str | None, scheme: str) -> int | None:
    return int(text) if text else _DEFAULT_PORTS.get(scheme)
