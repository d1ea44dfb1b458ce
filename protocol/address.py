"""Who is at the other end: the client's address behind trusted proxies, read in one way by all
three doors.

Each proxy appends the peer it saw to X-Forwarded-For, so with n trusted hops the n-th entry from
the right was written by a proxy we trust; what stands further left is the client's own word. With
no trusted hop nothing that a request says of its way counts.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

OWS: Final = " \t"
"""What may stand around a member of a header's list (RFC 9110 §5.6.3)."""

_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::\d{1,5})?|([0-9.]+):\d{1,5}")
"""`[v6]`, `[v6]:port` and `v4:port`, as IIS, Azure and HAProxy write them."""


def client_address(direct: str, forwarded: Iterable[str], hops: int) -> str:
    """The client's address in its normal form.

    `direct` is the peer of the TCP connection (empty for a unix socket), `forwarded` the values of
    all X-Forwarded-For lines in their order. Where a trusted proxy wrote no address (`unknown`),
    it is the peer's.
    """
    text = said_by_proxy(forwarded, hops) if hops > 0 else None
    return (_normal(text) if text else "") or _normal(direct) or direct


def said_by_proxy(values: Iterable[str], hops: int) -> str | None:
    """Of a header that proxies append to: what the outermost trusted one wrote.

    Several lines are one list, and empty members are none (RFC 9110 §5.3, §5.6.1). None with no
    trusted hop or no member.
    """
    if hops <= 0 or not values:
        return None
    text = ",".join(values)
    if "," not in text:  # as behind one proxy, and nearly always
        return text.strip(OWS) or None
    chain = [part for raw in text.split(",") if (part := raw.strip(OWS))]
    return chain[-min(hops, len(chain))] if chain else None


def counted_as(address: str) -> str:
    """What a limit counts as one address: of IPv6 the /64, which is one household's."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, 64), strict=False))


@lru_cache(maxsize=16_384)
def _normal(text: str) -> str:
    """Without port, brackets and zone; IPv4 within IPv6 as IPv4. Empty when it is no address."""
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match[1] or match[2] or ""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
