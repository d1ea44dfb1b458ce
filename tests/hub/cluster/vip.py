"""One address in front of several servers, as a balancer or DNS has it: connections that stand stay
where they are when it leads elsewhere.
"""

import asyncio
from contextlib import suppress


class Vip:
    """New connections go to `port`. While `deaf`, what servers say to those who have subscribed is
    lost, whole messages at a time.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.deaf = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Its URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

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
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        subscribed = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                up = group.create_task(self._up(reader, server_writer, subscribed))
                down = group.create_task(self._down(server_reader, writer, subscribed))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                up.cancel()
                down.cancel()
        finally:
            writer.close()
            server_writer.close()

    @staticmethod
    async def _up(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribed: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                if b"SUBSCRIBE" in data:
                    subscribed.set()
                writer.write(data)

    async def _down(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        subscribed: asyncio.Event,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(2**20):
                if not (self.deaf and subscribed.is_set()):
                    writer.write(data)
