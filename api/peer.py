"""What a request says of its way here: the client's address, TLS, the site that sent it."""

from aiohttp import web

from protocol.address import client_address, said_by_proxy
from protocol.origins import is_allowed, own_hosts


def address_of(request: web.BaseRequest, hops: int) -> str:
    """The client's address behind `hops` trusted proxies; empty for a unix socket."""
    forwarded = request.headers.getall("X-Forwarded-For", ())
    return client_address(request.remote or "", forwarded, hops)


def is_secure(request: web.BaseRequest, hops: int) -> bool:
    """Whether the client came by TLS, here or at a trusted proxy."""
    if request.secure:
        return True
    said = request.headers.getall("X-Forwarded-Proto", ())
    return bool(said) and said_by_proxy(said, hops) in ("https", "wss")


def origin_allowed(request: web.BaseRequest, allowed: tuple[str, ...], hops: int) -> bool:
    """The rule of all doors (protocol.origins)."""
    origins = request.headers.getall("Origin", ())
    if not origins:
        return True
    forwarded = request.headers.getall("X-Forwarded-Host", ())
    return is_allowed(origins, own_hosts(request.headers.get("Host"), forwarded, hops), allowed)
