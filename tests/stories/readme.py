"""The programs that the README prints, to be run as printed."""

import asyncio
import re
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 20.0
_BLOCK: Final = re.compile(r"<!-- story: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def programs() -> dict[str, str]:
    """Their text by file name."""
    return dict(_BLOCK.findall((ROOT / "README.md").read_text()))


def names_of(program: str) -> dict[str, Any]:
    """What a program that only defines things has defined."""
    scope: dict[str, Any] = {"__name__": program}
    exec(compile(programs()[program], f"README.md: {program}", "exec"), scope)
    return scope


class Script:
    """A program of the README, its lines awaited."""

    def __init__(self, folder: Path, *argv: str) -> None:
        self._folder = folder
        self._argv = argv
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Script":
        self._process = await asyncio.create_subprocess_exec(
            *self._argv,
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def line(self, begin: str = "") -> str:
        """The next line that begins so."""
        assert self._process is not None
        assert self._process.stdout is not None
        heard = []
        async with asyncio.timeout(PATIENCE):
            while raw := await self._process.stdout.readline():
                heard.append(text := raw.decode().rstrip())
                if text.startswith(begin):
                    return text
        raise AssertionError(f"{self._argv} ended without {begin!r}: {heard}")

    async def end(self) -> str:
        assert self._process is not None
        async with asyncio.timeout(PATIENCE):
            out, _ = await self._process.communicate()
        assert self._process.returncode == 0, out
        return out.decode()
