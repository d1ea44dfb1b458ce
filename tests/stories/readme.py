"""The programs that the README prints, to be run as printed."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 20.0
INSTALLING: Final = 300.0
_INSTALL: Final = re.compile(r"^(?:#|//) \S+: (\S+ i\S* .*?);")
_OFFLINE: Final = re.compile(r"from versions: none|ConnectionError|Connection refused")
_PIP: Final = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_COMPILE": "1",
    "PIP_NO_INPUT": "1",
    "PIP_RETRIES": "0",
    "PIP_TIMEOUT": "10",
}
_BLOCK: Final = re.compile(r"<!-- story: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def programs() -> dict[str, str]:
    """Their text by file name."""
    return dict(_BLOCK.findall((ROOT / "README.md").read_text()))


def install_line(program: str) -> str:
    """What its first line tells the reader to install it with."""
    match = _INSTALL.match(programs()[program])
    assert match is not None, f"{program} does not say how it is installed"
    return match[1]


async def installed(folder: Path, program: str) -> str | None:
    """A Python of its own in `folder` that has what the program's printed line installs, with the
    pip at hand; None where no package registry can be reached.
    """
    tool, *argv = shlex.split(install_line(program))
    assert tool == "pip"
    own = folder / "bin" / "python"
    await _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    code, said = await _run(sys.executable, "-m", "pip", "--python", str(own), *argv)
    if code and _OFFLINE.search(said):
        return None
    assert code == 0, said
    assert "does not provide the extra" not in said
    return str(own)


async def _run(*argv: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **_PIP},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(INSTALLING):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


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
