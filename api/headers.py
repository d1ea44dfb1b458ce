"""What every answer carries, whichever way it came about."""

from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from api.admission import Meter
from api.bodies import BODY, Shared, pack
from api.peer import is_secure, origin_allowed
from hub.plumbing.http.server import SERVER, Prepared, takes_prepared
from hub.plumbing.settings.process import Web
from hub.plumbing.telemetry.trace import REQUEST_ID, Trace
from protocol.origins import is_listed
from protocol.rest.operation import PREFIX
from protocol.rest.sessions import CSRF_HEADER

COMPRESS_FROM: Final = 1024
"""S4-04: a smaller body costs more to compress than it saves."""

CSP: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

SECURITY: Final = {  # S5-42
    "Content-Security-Policy": CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_OF_JSON: Final = CIMultiDict({"Content-Type": "application/json; charset=utf-8", **SECURITY})
HSTS: Final = "max-age=31536000; includeSubDomains"

EXPOSED: Final = "X-Request-ID, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, Allow"
ALLOWED_METHODS: Final = "GET, HEAD, POST, PUT, DELETE"
ALLOWED_HEADERS: Final = (
    f"Authorization, Content-Type, Idempotency-Key, X-Request-ID, {CSRF_HEADER}"
)


class Answer(web.Response):
    """JSON with the headers that no answer goes without; the others are asked for them one by
    one."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status=status, body=body, headers=_OF_JSON)


def shared(answer: Shared) -> Answer:
    """From our own cache, to be finished."""
    response = Answer(200, answer.body.plain)
    response[BODY] = answer.body
    if answer.cache_control:
        response.headers["Cache-Control"] = answer.cache_control
    return response


def prepared(
    request: web.Request, answer: Shared, trace: Trace, meter: Meter | None, part: Web
) -> Prepared | None:
    """The same, finished, in bytes, for who asks as most do: a third of the work (measured). None
    for who takes no such answer, or wants more in its head.
    """
    headers, body = request.headers, answer.body
    if "Origin" in headers or not takes_prepared(request):
        return None
    packed = len(body.plain) >= COMPRESS_FROM and _takes_gzip(headers.get("Accept-Encoding", ""))
    kind = packed, is_secure(request, part.trust_proxy), answer.cache_control
    head = body.heads.get(kind)
    if head is None:
        head = body.heads[kind] = _head(request, answer, trace, part)
    told = {} if meter is None else meter.headers
    lines = "".join([f"{name}: {value}\r\n" for name, value in told.items()])
    last = f"{lines}{REQUEST_ID}: {trace.request_id}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
    return Prepared(b"".join((head, last.encode(), body.packed if packed else body.plain)))


def _head(request: web.Request, answer: Shared, trace: Trace, part: Web) -> bytes:
    """All lines but those of this answer alone."""
    response = shared(answer)
    finish(request, response, trace, part)
    del response.headers[REQUEST_ID]
    response.headers["Content-Length"] = str(response.content_length)
    response.headers["Server"] = SERVER
    lines = [f"{name}: {value}\r\n" for name, value in response.headers.items()]
    return "".join(["HTTP/1.1 200 OK\r\n", *lines]).encode()


def is_preflight(request: web.Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def finish(request: web.Request, response: web.StreamResponse, trace: Trace, part: Web) -> None:
    """Add what the answer has not said itself; compress its body."""
    headers = response.headers
    if not isinstance(response, Answer):
        for name, value in SECURITY.items():
            headers.setdefault(name, value)
    headers[REQUEST_ID] = trace.request_id
    headers.setdefault("Cache-Control", "no-store")
    if is_secure(request, part.trust_proxy):  # RFC 6797 §7.2: not over plain HTTP
        headers["Strict-Transport-Security"] = HSTS
    _cross_origin(request, response, part)
    _compress(request, response)


def _cross_origin(request: web.Request, response: web.StreamResponse, part: Web) -> None:
    headers = response.headers
    headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin is None or not origin_allowed(request, part.cors_origins, part.trust_proxy):
        return
    if not is_listed(origin, part.cors_origins):
        return
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = EXPOSED
    if request.path.startswith(f"{PREFIX}/auth/") and "*" not in part.cors_origins:
        # the refresh cookie, which browsers send along from pages of the same site alone
        headers["Access-Control-Allow-Credentials"] = "true"
    if is_preflight(request):
        headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        headers["Access-Control-Max-Age"] = "600"


def _compress(request: web.Request, response: web.StreamResponse) -> None:
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return
    response.headers.add("Vary", "Accept-Encoding")
    if len(response.body) >= COMPRESS_FROM and _takes_gzip(
        request.headers.get("Accept-Encoding", "")
    ):
        kept = response.get(BODY)
        response.body = pack(response.body) if kept is None else kept.packed
        response.headers["Content-Encoding"] = "gzip"


@lru_cache(maxsize=256)
def _takes_gzip(accepted: str) -> bool:
    """RFC 9110 §12.5.3, of which `q=0` is the part that matters."""
    for part in accepted.split(","):
        coding, _, weight = part.strip().partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
