"""The request that opened a WebSocket session as a WSGI environment, parsed when it is read.

Only the bytes of the head are kept: a parsed request costs 3.7 KiB and more a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from multidict import CIMultiDictProxy

from protocol.address import said_by_proxy

MAX_LINE = 8_190


def parse_head(head: bytes, loop: asyncio.AbstractEventLoop) -> RawRequestMessage:
    """The request whose head, up to and with the empty line, is `head`.

    Raises aiohttp's HttpProcessingError when it is none.
    """
    parser = HttpRequestParser(
        _nobody(loop),
        loop,
        2**16,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
    )
    messages, _, _ = parser.feed_data(head)
    message: RawRequestMessage = messages[0][0]
    return message


@lru_cache(maxsize=1)
def _nobody(loop: asyncio.AbstractEventLoop) -> BaseProtocol:
    """The parser wants a protocol whose reading it may pause; a head alone pauses nothing."""
    return BaseProtocol(loop, None)


class Environ(Mapping[str, Any]):
    """Read-only; `REMOTE_ADDR` is the peer behind the trusted proxies."""

    __slots__ = ("_address", "_head", "_scheme", "_values")

    def __init__(self, head: bytes, address: str, scheme: str) -> None:
        self._head = head
        self._address = address
        self._scheme = scheme
        self._values: dict[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> dict[str, Any]:
        if self._values is None:
            message = parse_head(self._head, asyncio.get_running_loop())
            self._values = environ_of(message, self._address, self._scheme)
        return self._values


def environ_of(message: RawRequestMessage, address: str, scheme: str) -> dict[str, Any]:
    """WSGI names (PEP 3333) of a request's head.

    Names with an underscore are left out: `X_Forwarded_For` would stand where a proxy's
    `X-Forwarded-For` stands.
    """
    path, _, query = message.path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": message.method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "RAW_URI": message.path,
        "SERVER_PROTOCOL": f"HTTP/{message.version.major}.{message.version.minor}",
        "SERVER_NAME": "hub",
        "SERVER_PORT": "0",
        "REMOTE_ADDR": address,
        "REMOTE_PORT": "0",
        "wsgi.url_scheme": scheme,
    }
    for name, value in message.headers.items():
        if "_" not in name:
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def scheme_of(
    headers: CIMultiDictProxy[str], transport: asyncio.BaseTransport | None, hops: int
) -> str:
    """`https` for who came by TLS, here or at a trusted proxy."""
    if transport is not None and transport.get_extra_info("sslcontext") is not None:
        return "https"
    said = said_by_proxy(headers.getall("X-Forwarded-Proto", ()), hops) if hops > 0 else None
    return "https" if said in ("https", "wss") else "http"
