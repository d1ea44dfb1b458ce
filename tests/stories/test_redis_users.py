"""The users of Redis in deploy/docs/cluster.md, as they stand there: enough, and no more."""

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import urlsplit

import pytest
from redis.exceptions import RedisError

from hub.cluster.line import Line
from hub.cluster.server import Server
from tests.conftest import SECRETS
from tests.hub.commands.test_cli import PROGRAM, dongne
from tests.stories.processes import Door, doors
from tests.stories.readme import ROOT, Script, programs

pytestmark = pytest.mark.story
OURS = {"REDIS_PREFIX": "jeju:", "ADAPTER_KEY": "jeju"}
PASSWORD = "sesame"
RULES = re.compile(r"^    (ACL SETUSER (\w+) .*)$", re.MULTILINE)


@pytest.fixture
async def urls(redis_url: str) -> AsyncIterator[dict[str, str]]:
    """The users of the page, made; the URL of each."""
    line = Line(Server.of(redis_url))
    address = urlsplit(redis_url).netloc.rpartition("@")[2]
    rules = RULES.findall((ROOT / "deploy/docs/cluster.md").read_text())
    for command, _ in rules:
        await line.call(*command.replace("PASSWORD", PASSWORD).split())
    yield {user: f"redis://{user}:{PASSWORD}@{address}/0" for _, user in rules}
    await line.call("ACL", "DELUSER", *(user for _, user in rules))
    await line.close()


def ours(url: str, *words: str) -> CompletedProcess[str]:
    """A command of the terminal as one of the users."""
    return dongne(*words, REDIS_URL=url, REDIS_PREFIX="jeju:", ADAPTER_KEY="jeju")


async def test_each_user_may_do_its_work_and_no_other(
    database_url: str, urls: dict[str, str], tmp_path: Path
) -> None:
    assert set(urls) == {"hub", "service", "listener", "operator"}
    for name, text in programs().items():
        (tmp_path / name).write_text(text)
    env = {
        "APP_ENV": "development",
        "PORT": "0",
        "API_PORT": "0",
        "METRICS_PORT": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": urls["hub"],
        "EMBEDDED_DIR": str(tmp_path / ".dongne"),
        **OURS,
        **SECRETS,
    }
    door = Door("up", env, tmp_path / "up.log")
    async with doors(door):
        await _the_readme_works(tmp_path, urls)
        await _drained(door, urls["operator"])
    assert "NOPERM" not in door.output()
    await _nobody_does_more(urls)


async def _the_readme_works(folder: Path, urls: dict[str, str]) -> None:
    """Events taken from a service, a question asked and heard, a direct publish, a listener."""
    async with Script(folder, sys.executable, "service.py", "people") as people:
        assert (await people.end()).count('"accepted":1') == 2
    async with (
        Script(folder, "env", *_given(urls["listener"]), str(PROGRAM), "tail") as tail,
        Script(folder, sys.executable, "listen.py", "local-1") as listens,
        Script(folder, sys.executable, "client.py", "local-2") as repairs,
    ):
        await tail.line("dongne: listening")
        assert await listens.line() == "ready False"
        assert await listens.line() == "0 unread"
        await repairs.line("ready: 0 unread")
        async with Script(folder, sys.executable, "service.py", "ask") as service:
            await service.end()
        await repairs.line("question:urgent")
        await listens.line("question:urgent")
        data = '{"text": "No ferries"}'
        sent = ours(urls["service"], "emit", "region:jeju", "ferry:cancelled", data)
        assert sent.returncode == 0, sent.stderr
        assert await listens.line("ferry:cancelled") == "ferry:cancelled No ferries"
        while "ferry:cancelled" not in await tail.line():
            pass


def _given(url: str) -> list[str]:
    return [f"{name}={value}" for name, value in {"REDIS_URL": url, **OURS}.items()]


async def _drained(door: Door, url: str) -> None:
    listed = ours(url, "drain")
    node, state = listed.stdout.split()
    assert state == "listens"
    drained = ours(url, "drain", node)
    assert drained.returncode == 0, drained.stderr
    assert await door.wait() == 0


async def _nobody_does_more(urls: dict[str, str]) -> None:
    refused: dict[str, list[tuple[str | int, ...]]] = {
        "hub": [("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "other"), ("PUBLISH", "other", "x")],
        "service": [
            ("HGETALL", "jeju:session:p"),
            ("PUBLISH", "jeju-request#/#", "x"),
            ("PUBLISH", "jeju:node:n", "drain"),
            ("DEL", "jeju:epoch"),
        ],
        "listener": [("PUBLISH", "jeju#/#", "x"), ("GET", "jeju:epoch")],
        "operator": [("PUBLISH", "jeju#/#", "x"), ("ZADD", "jeju:nodes", 1, "n")],
    }
    for user, commands in refused.items():
        link = await Server.of(urls[user]).open("test")
        for command in commands:
            with pytest.raises(RedisError, match=r"NOPERM|permission"):
                await link.command(*command)
        link.close()
