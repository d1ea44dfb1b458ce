"""The way to one host of APNs: one connection, kept for hours as Apple asks, and made anew."""

import asyncio
import ssl
from urllib.parse import urlsplit

from workers.channels.apns.http2 import Answer, Connection, NotTaken


class Link:
    """`url` is `https://host[:port]`, or `http://` for a server that speaks HTTP/2 in the clear.

    Nothing is connected before the first request. `timeout_s` for a connection to be made. `tls`
    None: the machine's authorities. Raises ValueError for another URL.
    """

    def __init__(self, url: str, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("APNS_URL must be http(s)://host[:port]")
        self.scheme = parts.scheme
        self.authority = parts.netloc
        self._timeout_s = timeout_s
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = tls or ssl.create_default_context()
            self._tls.set_alpn_protocols(["h2"])
        self._connection: Connection | None = None
        self._ending: list[Connection] = []
        self._opening: asyncio.Task[Connection] | None = None

    async def request(self, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """What the server did not take up goes once more, over a new connection if need be.

        Raises OSError.
        """
        try:
            return await (await self._connected()).request(headers, body)
        except NotTaken:
            return await (await self._connected()).request(headers, body)

    async def close(self) -> None:
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        connections = [*self._ending, *([self._connection] if self._connection else [])]
        for connection in connections:
            await connection.close()

    async def _connected(self) -> Connection:
        """Opened once for all who wait; who gives up waiting takes it from nobody."""
        if self._connection is not None and self._connection.usable:
            return self._connection
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_mark_retrieved)
        return await asyncio.shield(self._opening)

    async def _open(self) -> Connection:
        if self._connection is not None:
            self._ending = [one for one in self._ending if not one.over]
            self._ending.append(self._connection)
            self._connection = None
        async with asyncio.timeout(self._timeout_s):
            self._connection = await Connection.open(self._host, self._port, self._tls)
        return self._connection


def _mark_retrieved(task: "asyncio.Task[Connection]") -> None:
    """All who waited may have gone: the loop need not complain about an error nobody fetched."""
    if not task.cancelled():
        task.exception()
