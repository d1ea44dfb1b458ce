"""A TCP proxy between a door and a server of its, with faults that start at a chosen message."""

import asyncio
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Fault = Literal["swallow", "mute"]
"""swallow: the message and all after it never arrive; mute: it arrives, no answer comes back."""


class FaultProxy:
    """Passes bytes to the address of `url` until a request holds `at`; then its connection has the
    fault, and `tripped` is set. New connections are faulty as well until `heal`.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: Fault | None = None
        self._at = b""
        self.tripped = asyncio.Event()

    async def start(self) -> str:
        """Listen; the URL to use instead."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login = self._parts.netloc.rpartition("@")[0]
        netloc = f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}"
        return urlunsplit(self._parts._replace(netloc=netloc))

    def arm(self, fault: Fault, at: bytes) -> None:
        self._fault, self._at = fault, at
        self.tripped.clear()

    def heal(self) -> None:
        self._fault, self._at = None, b""

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        host, port = self._parts.hostname, self._parts.port
        up_reader, up_writer = await asyncio.open_connection(host, port)
        state: dict[str, Fault] = {}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, up_writer, state))
                group.create_task(self._answers(up_reader, writer, state))
        except* OSError:
            pass
        finally:
            for one in (writer, up_writer):
                one.close()
                with suppress(OSError):
                    await one.wait_closed()

    async def _requests(
        self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, state: dict[str, Fault]
    ) -> None:
        while data := await reader.read(65536):
            if self._fault is not None and self._at in data:
                state["fault"] = self._fault
                self.tripped.set()
            if state.get("fault") != "swallow":
                up.write(data)
                await up.drain()
        up.close()

    async def _answers(
        self, up: asyncio.StreamReader, writer: asyncio.StreamWriter, state: dict[str, Fault]
    ) -> None:
        while data := await up.read(65536):
            if "fault" not in state:
                writer.write(data)
                await writer.drain()
        writer.close()
