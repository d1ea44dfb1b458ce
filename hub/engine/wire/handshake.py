"""What a request asks of Engine.IO, read in one way for WebSocket and polling, and how it is
refused."""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as BinasciiError
from binascii import a2b_base64
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

import orjson
from aiohttp import hdrs
from aiohttp.http import HttpVersion11, RawRequestMessage

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n%s\r\n"
)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2


class Fault(NamedTuple):
    """An Engine.IO error as the official server answers it: HTTP status, number and text; `label`
    is the counter's."""

    label: str
    number: int
    message: str
    status: int = 400

    @property
    def body(self) -> bytes:
        return orjson.dumps({"code": self.number, "message": self.message})


TRANSPORT: Final = Fault("transport", 0, "Transport unknown")
SESSION: Final = Fault("session", 1, "Session ID unknown")
METHOD: Final = Fault("method", 2, "Bad handshake method")
REQUEST: Final = Fault("request", 3, "Bad request")
ORIGIN: Final = Fault("origin", 4, "Forbidden", 403)
VERSION: Final = Fault("version", 5, "Unsupported protocol version")


class Query(NamedTuple):
    """`sid` is empty where a new session is asked for; `version` is Engine.IO's."""

    transport: str
    sid: str
    version: str


@lru_cache(maxsize=64)
def read_query(text: str) -> Query:
    """Of any number of fields; of a field given twice the last counts, as in Node. Clients that
    open a session all ask with the same few strings."""
    found = {"transport": "", "sid": "", "EIO": ""}
    for field in text.split("&"):
        name, _, value = field.partition("=")
        if "%" in name:
            name = unquote_plus(name)
        if name in found:
            found[name] = unquote_plus(value)
    return Query(found["transport"], found["sid"], found["EIO"])


def is_websocket(message: RawRequestMessage) -> bool:
    """Whether a request is a WebSocket upgrade (RFC 6455 §4.2.1): GET, HTTP/1.1, without a body,
    `Upgrade: websocket` that a Connection header names (RFC 9110 §7.8). The only place where this
    is decided."""
    if not message.upgrade or message.method != "GET" or message.version != HttpVersion11:
        return False
    asked = message.headers.getall(hdrs.UPGRADE, ())
    return (
        len(asked) == 1
        and asked[0].lower() == "websocket"
        and not message.chunked
        and message.headers.get(hdrs.CONTENT_LENGTH, "0") == "0"
    )


def switching(message: RawRequestMessage) -> bytes | None:
    """The answer that accepts an upgrade; None when its key or its subprotocols cannot be read.

    Of the subprotocols that a client asks for it gets the first, as from the official server: it
    would take an answer without one for a failure (RFC 6455 §4.1).
    """
    key = message.headers.getall(hdrs.SEC_WEBSOCKET_KEY, ())
    if len(key) != 1 or not _is_key(key[0]):
        return None
    protocol = b""
    asked = message.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    if asked:
        names = [name.strip(" \t") for value in asked for name in value.split(",")]
        if len(set(names)) < len(names) or not all(map(TOKEN.fullmatch, names)):
            return None
        protocol = b"Sec-WebSocket-Protocol: %s\r\n" % names[0].encode()
    accept = b64encode(sha1(key[0].encode() + GUID).digest())  # noqa: S324 - RFC 6455 §4.2.2
    return SWITCHING % (accept, protocol)


def fault_in(
    query: Query, carrier: str, method: str, transports: Sequence[str], *, known: bool
) -> Fault | None:
    """By the official server's checks, in their order. `carrier` is what brought the request,
    `known` whether the session it names is one of ours."""
    if query.transport not in transports:
        return TRANSPORT
    if query.sid:
        if not known:
            return SESSION
        return None if (query.transport, query.version) == (carrier, "4") else REQUEST
    if method != "GET":
        return METHOD
    if query.transport != carrier:
        return REQUEST
    return None if query.version == "4" else VERSION


def _is_key(key: str) -> bool:
    """A nonce of 16 bytes in base64 (RFC 6455 §4.2.1)."""
    try:
        return len(key) == 24 and len(a2b_base64(key, strict_mode=True)) == 16
    except (BinasciiError, ValueError):
        return False
