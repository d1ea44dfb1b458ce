"""Who is at the other end: the client's address behind trusted proxies, and which site sent it."""

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web


def address_of(request: web.BaseRequest, hops: int) -> str:
    """The client's address; empty when there is none (a unix socket).

    Each proxy appends the peer it saw to X-Forwarded-For, so with n trusted hops the n-th entry
    from the right was written by a proxy we trust; what stands further left is the client's word.
    """
    chain = [
        part.strip()
        for header in request.headers.getall("X-Forwarded-For", ())
        for part in header.split(",")
    ]
    text = chain[-min(hops, len(chain))] if hops and chain else request.remote or ""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return request.remote or ""


def counted_as(address: str) -> str:
    """What a limit counts as one address: of IPv6 the /64, which is one household's."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, 64), strict=False))


def is_secure(request: web.BaseRequest, hops: int) -> bool:
    """Whether the client came by TLS, here or at a trusted proxy."""
    return request.secure or (bool(hops) and request.headers.get("X-Forwarded-Proto") == "https")


def origin_allowed(request: web.BaseRequest, allowed: tuple[str, ...]) -> bool:
    """No Origin, our own, or one of the list; the scheme is the proxy's affair, so hosts decide."""
    origin = request.headers.get("Origin")
    if origin is None or origin in allowed or "*" in allowed:
        return True
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc == request.host
    except ValueError:
        return False
