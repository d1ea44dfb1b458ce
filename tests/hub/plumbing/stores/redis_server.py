"""A Valkey of a test's own: started for real, killed for real, its port kept over a restart."""

import asyncio
import shutil
from pathlib import Path

from hub.embedded.account import account
from hub.embedded.programs import find_valkey
from hub.embedded.supervisor import free_port

PROGRAM = shutil.which("valkey-server") or str(find_valkey(account(), "wheel").path)


class RedisServer:
    """One server in `directory`; `options` are lines of its command line."""

    def __init__(self, directory: Path, *options: str, config: str | None = None) -> None:
        self.directory = directory
        self.port = free_port()
        self.socket = directory / "r.sock"
        self._config = config
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        arguments = [PROGRAM]
        if self._config is not None:
            file = self.directory / "own.conf"
            file.write_text(self._config)
            arguments.append(str(file))
        arguments += ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        arguments += ["--dir", str(self.directory), *self._options]
        self._process = await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.DEVNULL
        )
        await self._answers()

    async def _answers(self) -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    if self._process is None or self._process.returncode is not None:
                        raise RuntimeError("the server did not start") from None
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return await writer.wait_closed()

    async def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None
