"""What the README prints runs as printed: a service that publishes, and two stock clients."""

import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

import pytest

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.commands import credentials
from protocol.names import Keys
from tests.conftest import SECRETS
from tests.stories.cluster.balancer import Balancer
from tests.stories.processes import Door, doors
from tests.stories.readme import ROOT, Script, install_line, installed, programs

pytestmark = pytest.mark.story
REPLAYED = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The README's files, as a reader has copied them."""
    for name, text in programs().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/node/node_modules")
    return tmp_path


def up(database_url: str, redis_url: str, folder: Path, name: str, **more: str) -> Door:
    """`make run`, on the stores of the test; credentials come into `folder`/`name`."""
    env = {
        "APP_ENV": "development",
        "PORT": "0",
        "API_PORT": "0",
        "METRICS_PORT": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EMBEDDED_DIR": str(folder / name),
        **SECRETS,
        **more,
    }
    return Door("up", env, folder / f"{name}.log")


@pytest.mark.fault(23)
@pytest.mark.skipif(shutil.which("node") is None, reason="no node for the stock JavaScript client")
async def test_the_readme_runs_as_printed(
    database_url: str, redis_url: str, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """The Python client runs on what its own line installs, where a registry can be reached."""
    own = await installed(folder / "venv", "client.py")
    door = up(database_url, redis_url, folder, ".dongne")
    async with doors(door), in_front_of({".dongne": door}, folder) as balancer:
        await _asked_and_heard(folder, own or sys.executable, balancer)
    line = install_line("client.py")
    record_property("seen", f"{line}: {'ran on it' if own else 'no registry, ran on our own'}")


@pytest.mark.fault(23)
def test_the_extra_that_is_printed_has_this_very_name() -> None:
    """Older versions of pip compare the spelling, and install none of it otherwise."""
    [found] = re.findall(r"python-socketio\[(\S+?)\]", install_line("client.py"))
    assert found in (metadata.metadata("python-socketio").get_all("Provides-Extra") or ())
    assert any(
        "aiohttp" in one and found in one for one in metadata.requires("python-socketio") or ()
    )
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"python-socketio\[(\S+?)\]", text)) == {found}


@asynccontextmanager
async def in_front_of(nodes: Mapping[str, Door], folder: Path) -> AsyncIterator[Balancer]:
    """Whoever reads the credentials connects by it."""
    balancer = Balancer({name: door.url for name, door in nodes.items()})
    found = folder / ".dongne" / credentials.NAME
    known = json.loads(found.read_text())
    try:
        found.write_text(json.dumps({**known, "url": await balancer.start()}))
        yield balancer
    finally:
        await balancer.stop()


async def _asked_and_heard(folder: Path, interpreter: str, balancer: Balancer) -> None:
    """And both know their inbox again after a tunnel, recovered or not (deploy/docs/inbox.md)."""
    node = shutil.which("node")
    assert node is not None
    async with Script(folder, sys.executable, "service.py", "people") as people:
        assert (await people.end()).count('"accepted":1') == 2
    async with (
        Script(folder, node, "client.mjs", "local-1") as javascript,
        Script(folder, interpreter, "client.py", "local-2") as python,
    ):
        for client in (javascript, python):
            await client.line("ready: 0 unread")
        async with Script(folder, sys.executable, "service.py", "ask") as service:
            await service.end()
        for client in (javascript, python):
            assert "문 연 약국 있나요?" in await client.line("question:urgent")
        balancer.cut()
        for client in (javascript, python):
            await client.line("ready: ")


async def test_the_ten_lines_recover_when_a_node_dies(
    database_url: str, redis_url: str, folder: Path
) -> None:
    """Two installations on the same stores, the second with the key that counts. They replay few
    events, so that a client that forgot its offset would not be recovered.
    """
    few = {"RECOVERY_EVENTS": str(REPLAYED)}
    nodes = {
        name: up(database_url, redis_url, folder, name, **few) for name in ("other", ".dongne")
    }
    async with doors(*nodes.values()), in_front_of(nodes, folder):
        await _recovered(nodes, redis_url, folder)


async def _recovered(nodes: Mapping[str, Door], redis_url: str, folder: Path) -> None:
    async with Script(folder, sys.executable, "service.py", "people") as people:
        await people.end()
    async with (
        Script(folder, sys.executable, "listen.py", "local-2") as client,
        Emitter.connect(redis_url) as hub,
    ):
        assert await client.line() == "ready False"
        assert await client.line() == "0 unread"
        async with Script(folder, sys.executable, "emit.py", "first") as service:
            assert (await service.end()).startswith("sent ")
        assert await client.line() == "ferry:cancelled first"
        for number in range(REPLAYED):
            await hub.emit("ferry:cancelled", {"text": str(number)}, room="region:jeju")
            assert await client.line() == f"ferry:cancelled {number}"
        await (await _node_of(nodes, redis_url)).kill()
        for text in ("second", "third"):
            await hub.emit("ferry:cancelled", {"id": text, "text": text}, room="region:jeju")
        heard = [await client.line() for _ in range(3)]
        assert heard == ["ferry:cancelled second", "ferry:cancelled third", "ready True"]
        again = {"id": "third", "text": "a repeat"}
        await hub.emit("ferry:cancelled", again, room="region:jeju", volatile=True)
        await hub.emit("ferry:cancelled", {"text": "fourth"}, room="region:jeju")
        assert await client.line() == "ferry:cancelled fourth"


async def _node_of(nodes: Mapping[str, Door], redis_url: str) -> Door:
    """Whoever holds the only session; a node's name holds its pid."""
    line = Line(Server.of(redis_url))
    [session] = await line.call("KEYS", Keys().session("*"))
    owner = (await line.call("HGET", session, "owner")).decode()
    await line.close()
    return next(door for door in nodes.values() if f"-{door.pid}-" in owner)
