"""`dongne emit` and `dongne tail` as an operator types them, on a real Redis."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.commands import credentials
from hub.embedded.supervisor import free_port
from protocol.names import Channels, Keys
from protocol.redis_wire import Broadcast, decode_broadcast
from tests import forked
from tests.hub.commands.test_cli import PROGRAM, dongne

OFFSET = r"\d{13}-\d{12}"
PATIENCE = 20.0


def emitted(url: str, *words: str) -> tuple[str, str]:
    """Id and offset that the command printed."""
    done = dongne("emit", *words, REDIS_URL=url)
    assert done.returncode == 0, done.stderr
    id_, offset = done.stdout.split()
    return id_, offset


async def logged(url: str, key: str, offset: str) -> Broadcast:
    """The only entry of a log, with the offset that was printed."""
    line = Line(Server.of(url))
    [(number, [*_, message])] = await line.call("XRANGE", key, "-", "+")
    await line.close()
    assert [int(part) for part in number.split(b"-")] == [int(part) for part in offset.split("-")]
    return decode_broadcast(message + offset.encode())


class Tailing:
    """`dongne tail …` as a process, its lines awaited."""

    def __init__(self, process: forked.Forked) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        return await self._read(self._process.stdout)

    async def told(self) -> str:
        assert self._process.stderr is not None
        return await self._read(self._process.stderr)

    async def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    async def _read(self, stream: asyncio.StreamReader) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await stream.readline()).decode().rstrip()


@asynccontextmanager
async def tailing(url: str, *words: str, **environ: str) -> AsyncIterator[Tailing]:
    """Yields when Redis has confirmed that it listens."""
    env = {"PATH": os.environ["PATH"], "REDIS_URL": url, **environ}
    process = await forked.dongne("tail", *words, env=env)
    try:
        one = Tailing(process)
        assert await one.told() == "dongne: listening"
        yield one
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# --- emit ----------------------------------------------------------------------------------------


async def test_an_event_is_logged_and_published(redis_url: str) -> None:
    id_, offset = emitted(redis_url, "question:7", "answer:created", '{"excerpt": "여기요"}')
    assert re.fullmatch(OFFSET, offset)
    broadcast = await logged(redis_url, Keys().room_log("/", "question:7"), offset)
    assert broadcast.args == [{"id": id_, "excerpt": "여기요"}]
    assert (broadcast.klass, broadcast.rooms) == ("alert", ("question:7",))


async def test_its_options(redis_url: str) -> None:
    options = ("--except", "user:a", "--except", "user:b", "--id", "e1", "--namespace", "/chat")
    id_, offset = emitted(redis_url, "r", "news", *options)
    assert id_ == "e1"
    broadcast = await logged(redis_url, Keys().room_log("/chat", "r"), offset)
    assert (broadcast.klass, broadcast.except_rooms) == ("room", ("user:a", "user:b"))
    again = dongne("emit", "r", "news", "--id", "e1", REDIS_URL=redis_url)
    assert (again.returncode, again.stdout) == (0, "e1 -\n")
    assert "published before" in again.stderr


async def test_prefix_and_adapter_key_of_the_settings(redis_url: str) -> None:
    async with tailing(redis_url, "--json", REDIS_PREFIX="jeju:", ADAPTER_KEY="hub") as tail:
        assert emitted(redis_url, "r", "news")[1] != "-"  # on other channels: not heard below
        words = ("emit", "r", "news", "--id", "mine")
        done = dongne(*words, REDIS_URL=redis_url, REDIS_PREFIX="jeju:", ADAPTER_KEY="hub")
        assert done.returncode == 0
        line = json.loads(await tail.line())
    assert (line["channel"], line["data"]) == (Channels("hub").room("/", "r"), {"id": "mine"})
    async with Redis.from_url(redis_url) as client:
        assert await client.exists(Keys("jeju:").room_log("/", "r")) == 1


def test_a_volatile_event_has_no_offset(redis_url: str) -> None:
    assert emitted(redis_url, "r", "news", '{"id": "v1"}', "--volatile") == ("v1", "-")
    assert dongne("emit", "r", "inbox:unread", REDIS_URL=redis_url).stderr == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("r", "news", "{bad"), "not JSON"),
        (("r", "news", "[1]"), "not a JSON object"),
        (("", "news"), "a room's name"),
        (("r", "news", "{}", "--except", ""), "a room's name"),
        (("r", "server:shutdown"), "never a room"),
        (("r", "news", '{"id": "a"}', "--id", "b"), "another id"),
        (("r",), "event"),
    ],
)
def test_what_no_client_could_be_told_is_refused(
    redis_url: str, words: tuple[str, ...], reason: str
) -> None:
    done = dongne("emit", *words, REDIS_URL=redis_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def urls(redis_url: str) -> list[str]:
    """Nobody there; a wrong password."""
    address = urlsplit(redis_url).netloc.rpartition("@")[2]
    return [f"redis://:hunter2@127.0.0.1:{free_port()}", f"redis://:hunter2@{address}"]


@pytest.mark.parametrize("words", [("emit", "r", "news"), ("tail",), ("drain",), ("drain", "x")])
def test_a_redis_that_does_not_answer_is_named(redis_url: str, words: tuple[str, ...]) -> None:
    for url in urls(redis_url):
        done = dongne(*words, REDIS_URL=url)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(r"dongne: (cannot reach Redis|WRONGPASS).*\n", done.stderr)
        assert "hunter2" not in done.stderr


def test_without_an_address_it_says_which_setting_is_needed(tmp_path: Path) -> None:
    done = dongne("emit", "r", "news", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_in_development_the_redis_of_dongne_up_is_found(redis_url: str, tmp_path: Path) -> None:
    folder = tmp_path / ".dongne"
    folder.mkdir()
    (folder / credentials.NAME).write_text(json.dumps({"redisUrl": redis_url}))
    assert dongne("emit", "r", "news", cwd=tmp_path).returncode == 0


# --- tail ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_what_passes_and_ends_with_0(
    redis_url: str, number: signal.Signals
) -> None:
    async with tailing(redis_url, "--room", "question:*") as tail:
        emitted(redis_url, "user:u", "news")
        _, offset = emitted(redis_url, "question:7", "news", '{"id": "e1", "lat": 33.4891}')
        assert re.fullmatch(
            rf"\d\d:\d\d:\d\d\.\d{{3}} / question:7 news room/{offset} \d+B"
            r' {"id": "e1", "lat": "\[redacted\]"}',
            await tail.line(),
        )
        async with Redis.from_url(redis_url) as client:
            await client.publish(Channels().namespace("/"), b"\xc1")
        assert "malformed: no msgpack" in await tail.line()
        assert await tail.end(number) == 0
        assert await tail.told() == "dongne: 3 messages, 1 malformed"


async def test_it_ends_with_whoever_reads_it(redis_url: str) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{PROGRAM} tail | head -1",
        env={"PATH": os.environ["PATH"], "REDIS_URL": redis_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        assert await process.stderr.readline() == b"dongne: listening\n"
        async with Redis.from_url(redis_url) as client:
            await client.publish(Channels().namespace("/"), b"\xc1")
            assert await process.stdout.readline()
            while (
                process.returncode is None
            ):  # `head` leaves after one line, the next one finds out
                await client.publish(Channels().namespace("/"), b"\xc1")
                await asyncio.sleep(0.05)
        assert b"Traceback" not in await process.stderr.read()


@pytest.mark.fault(3, 26)
@pytest.mark.parametrize("event", ["disconnect", "newListener"])
def test_what_stock_clients_cannot_decode_is_refused_with_a_code(
    valkey_url: str, event: str
) -> None:
    done = dongne("emit", "user:minji", event, "{}", REDIS_URL=valkey_url)
    assert done.returncode == 2
    assert done.stderr.startswith("dongne: INVALID_PAYLOAD: ")
    assert "Traceback" not in done.stderr
