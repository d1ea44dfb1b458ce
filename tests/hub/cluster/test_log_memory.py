"""What recovery may cost in Redis: the log of a room is bounded, in entries, in bytes and in time.

The figures that are printed stand in deploy/docs/cluster.md.
"""

import re
from uuid import uuid4

import pytest

from hub.cluster.emitter import PUBLISHED_TTL, Emitter, LogLimits
from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.cluster.sessions import Sessions
from protocol.events import Emit
from protocol.names import Channels, Keys
from tests.hub.cluster.valkey import Valkey

Names = tuple[Keys, Channels]
EVENTS = 1000
NODE_ENTRIES = 100
"""stream-node-max-entries: a log is trimmed by whole nodes of at most so many entries."""


def most(message: int) -> int:
    """B of an entry: the message, rounded up as the allocator does, the offset before it, a share
    of its node.
    """
    return message * 3 // 2 + 150


async def memory(line: Line, key: str) -> int:
    """B, every element counted."""
    return int(await line.call("MEMORY", "USAGE", key, "SAMPLES", 0))


@pytest.mark.parametrize("size", [250, 2000, 20_000])
async def test_the_log_of_a_room_is_bounded(
    valkey: Valkey, line: Line, names: Names, size: int
) -> None:
    """`size` is that of the data, in B."""
    keys, channels = names
    emitter = Emitter(line, keys, channels, LogLimits(window=120, events=EVENTS))
    for batch in range(30):
        for number in range(100):
            id_ = f"{batch:03}-{number:03}"
            filling = "x" * (size - len(f'{{"id":"{id_}","text":""}}'))
            await emitter.emit("news", {"id": id_, "text": filling}, room="r")
        if batch == 9:
            full = await memory(line, keys.room_log("/", "r"))
    key = keys.room_log("/", "r")
    entries = await line.call("XLEN", key)
    message = len((await line.call("XRANGE", key, "-", "+", "COUNT", 1))[0][1][3])
    used, ttl = await memory(line, key), await line.call("TTL", key)
    print(
        f"data {size} B: message {message} B, 1000 events {full} B,"
        f" 3000 events {used} B in {entries} entries ({used / entries:.0f} B each), {ttl} s"
    )
    assert EVENTS <= entries <= EVENTS + NODE_ENTRIES
    assert used <= entries * most(message)
    assert full <= EVENTS * most(message)
    assert 0 < ttl <= 120 + 240


@pytest.mark.single_server
async def test_what_ids_cost(own_valkey: Valkey) -> None:
    """Remembered for an hour, whatever the window: at many events a second the most of all."""
    count = 20_000
    line = Line(Server.of(own_valkey.url))
    emitter = Emitter(line, Keys(), Channels(), LogLimits(events=100))
    ids = [str(uuid4()) for _ in range(count + 2000)]
    await _publish(emitter, ids[:2000])
    before = await _used(line)
    await _publish(emitter, ids[2000:])
    each = (await _used(line) - before) / count
    ttl = await line.call("TTL", Keys().published(ids[-1]))
    await line.close()
    print(f"an id {each:.0f} B, everything counted, for {ttl} s")
    assert 0 < ttl <= PUBLISHED_TTL
    assert each <= 250


async def _publish(emitter: Emitter, ids: list[str]) -> None:
    for start in range(0, len(ids), 100):
        batch = ids[start : start + 100]
        await emitter.publish([Emit(id=one, event="x", rooms=("r",), data={}) for one in batch])


async def _used(line: Line) -> int:
    info: bytes = await line.call("INFO", "memory")
    found = re.search(rb"used_memory:(\d+)", info)
    assert found is not None
    return int(found[1])


async def test_what_a_session_costs(line: Line, names: Names) -> None:
    keys = names[0]
    rooms = ("user:u", "region:jeju", "cell:8830e1d8e3fffff", "mute:x", "neighbourhood:yeon")
    sessions = Sessions(line, keys, "hub-7d9f8c-x2x4z-1-0a1b2c3d", window=120, ttl=90)
    session = await sessions.open(
        pid="p" * 32, user="u" * 36, sid="s" * 20, namespace="/", token="t" * 16, rooms=rooms
    )
    used = await memory(line, keys.session(session.pid))
    print(f"a session of {len(rooms)} rooms {used} B")
    assert used <= 1500
