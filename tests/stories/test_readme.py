"""What the README prints runs as printed: a service that publishes, and two stock clients."""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import SECRETS
from tests.stories.processes import Door, doors

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- story: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
PATIENCE = 20.0

pytestmark = pytest.mark.story


@pytest.fixture
async def folder(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Path]:
    """A folder with the README's files in it, as a reader has after `make run`."""
    for name, text in BLOCK.findall((ROOT / "README.md").read_text()):
        (tmp_path / name).write_text(text)
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/node/node_modules")
    env = {
        "APP_ENV": "development",
        "PORT": "0",
        "API_PORT": "0",
        "METRICS_PORT": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EMBEDDED_DIR": str(tmp_path / ".dongne"),
        **SECRETS,
    }
    async with doors(Door("up", env, tmp_path / "up.log")):
        yield tmp_path


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

    async def line(self, begin: str) -> str:
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


@pytest.mark.skipif(shutil.which("node") is None, reason="no node for the stock JavaScript client")
async def test_the_readme_runs_as_printed(folder: Path) -> None:
    node = shutil.which("node")
    assert node is not None
    async with Script(folder, sys.executable, "service.py", "people") as people:
        assert (await people.end()).count('"accepted":1') == 2
    async with (
        Script(folder, node, "client.mjs", "local-1") as javascript,
        Script(folder, sys.executable, "client.py", "local-2") as python,
    ):
        for client in (javascript, python):
            await client.line("ready: 0 unread")
        async with Script(folder, sys.executable, "service.py", "ask") as service:
            await service.end()
        for client in (javascript, python):
            assert "문 연 약국 있나요?" in await client.line("question:urgent")
