"""Reads what a request holds into the forms of its route, and no more bytes than that takes."""

import zlib
from functools import lru_cache
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError
from yarl import URL

from api.refusals import Refusal
from api.route import Route
from hub.plumbing.http.server import BodyLate
from protocol import links
from protocol.errors import invalid
from protocol.names import is_plain
from protocol.payload import check, read, read_json

MAX_BODY: Final = 1 << 20
CODINGS: Final = ("gzip", "x-gzip", "deflate")
MAX_NAME: Final = 128
"""Characters of an id or a room's name in the path."""

LONGEST: Final = {"token": links.MOST_CHARS}
"""What is longer than a name."""

MAX_KEY: Final = 200


def path_of(request: web.Request) -> dict[str, str]:
    if not request.match_info:
        return {}
    path = dict(request.match_info)
    check(path)
    if not all(is_plain(value) for value in path.values()):
        raise invalid("A part of the path holds a line break or a control character.")
    if any(len(value) > LONGEST.get(name, MAX_NAME) for name, value in path.items()):
        raise invalid("A part of the path is too long.")
    return path


def query_of(request: web.Request, form: type[msgspec.Struct] | None) -> Any:
    """The query in its form; a parameter nobody knows, or given twice, is refused. A form is
    shared by all who ask the same: nobody changes it."""
    return _query(request.rel_url.raw_query_string, form)


@lru_cache(maxsize=1024)
def _query(text: str, form: type[msgspec.Struct] | None) -> Any:
    given = URL.build(query_string=text, encoded=True).query
    if len(set(given)) != len(given):
        raise invalid("A query parameter is given twice.")
    if form is None:
        check(dict(given))
        if given:
            raise invalid("This route takes no query parameters.")
        return None
    return read(dict(given), form, strict=False)


async def body_of(request: web.Request, route: Route) -> tuple[bytes, Any]:
    """The bytes and their form, of a route that takes a body; an empty one is `{}`.

    Raises INVALID_PAYLOAD: with 413 over 1 MiB, 415 for what is no JSON, 408 when it takes too
    long.
    """
    raw = await raw_of(request)
    if raw and request.content_type != "application/json":
        raise Refusal(415, "Send the body as application/json.")
    return raw, read_json(raw or b"{}", route.body, max_items=route.max_items)


async def raw_of(request: web.Request) -> bytes:
    """The body's bytes, unpacked. Raises as `body_of`."""
    if (request.content_length or 0) > MAX_BODY:
        raise too_large()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await _go_on(request)
    coding = _coding_of(request)
    raw = await _bytes(request)
    return _inflated(raw) if raw and coding else raw


async def _go_on(request: web.Request) -> None:
    """RFC 9110 §10.1.1: the caller waits with the body until it is admitted."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # this is no part of the answer


async def _bytes(request: web.Request) -> bytes:
    try:
        return await request.read()
    except BodyLate:
        raise Refusal(408, "The body did not come in time.") from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    except (HttpProcessingError, RequestPayloadError, web.HTTPBadRequest):
        raise invalid("The body cannot be read.") from None


def _coding_of(request: web.Request) -> str:
    """How the body is compressed (RFC 9110 §8.4); empty: it is not. Raises 415 for what is neither
    gzip nor deflate."""
    values = request.headers.getall("Content-Encoding", ())
    codings = [part.strip().lower() for value in values for part in value.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return ""
    if len(codings) > 1 or codings[0] not in CODINGS:
        raise Refusal(
            415, "Send the body plain, or as gzip or deflate.", Accept_Encoding="gzip, deflate"
        )
    return codings[0]


def _inflated(raw: bytes) -> bytes:
    """Of a caller who was admitted, and no more of it than a body may have. The first bytes tell
    gzip, zlib and bare deflate apart: clients mix up the last two."""
    is_gzip, is_zlib = raw[:2] == b"\x1f\x8b", raw[0] & 0x0F == 8 and len(raw) > 1
    window = zlib.MAX_WBITS + 16 if is_gzip else zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
    inflater = zlib.decompressobj(window)
    try:
        body = inflater.decompress(raw, MAX_BODY + 1)
    except zlib.error:
        raise invalid("The body is not what its Content-Encoding says.") from None
    if len(body) > MAX_BODY:
        raise too_large()
    if not inflater.eof or inflater.unused_data:
        raise invalid("The body is not what its Content-Encoding says.")
    return body


def too_large() -> Refusal:
    return Refusal(413, f"The body is larger than {MAX_BODY} bytes.")


def key_of(request: web.Request) -> str | None:
    """The Idempotency-Key: 1 to 200 printable ASCII characters."""
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    key = keys[0].strip()
    if len(keys) > 1 or not 0 < len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise invalid(f"An Idempotency-Key has 1 to {MAX_KEY} printable ASCII characters.")
    return key


def agent_of(request: web.Request) -> str | None:
    """The User-Agent, which is kept and logged. Raises INVALID_PAYLOAD for one that is not UTF-8:
    aiohttp gives its other bytes as lone surrogates, which no store takes.
    """
    agent = request.headers.get("User-Agent")
    if agent is not None and not _is_text(agent):
        raise invalid("The User-Agent is not UTF-8.")
    return agent


@lru_cache(maxsize=1024)
def _is_text(agent: str) -> bool:
    return is_plain(agent.replace("\t", " "))
