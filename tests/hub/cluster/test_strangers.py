"""Peers whose wire is not read here are named once in the log, never passed over without a word."""

import pickle
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from hub.cluster.emitter import Emitter, free_emit
from hub.cluster.line import Line
from protocol.names import PYTHON_SOCKETIO_CHANNEL
from tests.hub.cluster.node_peer import NodePeer
from tests.hub.cluster.nodes import Names, Node, until
from tests.hub.cluster.valkey import Valkey

pytestmark = pytest.mark.fault(23)

Record = Callable[[str, object], None]


def said(logs: list[EventDict]) -> list[str]:
    return [one["why"] for one in logs if one["event"] == "bus_peer_not_understood"]


class Opened:
    """What a pickle could do to whoever opens it."""

    times = 0

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _open, ()


def _open() -> None:
    Opened.times += 1


@pytest.mark.parametrize("version", [2, 3, 4, 5])
async def test_a_python_socketio_that_pickles_is_named_once(
    valkey: Valkey, names: Names, line: Line, version: int, record_property: Record
) -> None:
    node = await Node(valkey.url, names).start()
    message = {"method": "emit", "event": "x", "data": Opened(), "namespace": "/", "room": "r"}
    with capture_logs() as logs:
        for _ in range(3):
            await line.call("PUBLISH", PYTHON_SOCKETIO_CHANNEL, pickle.dumps(message, version))
        await until(lambda: node.cluster.bus.malformed == 3)
    assert said(logs) == ["python-socketio before 5.14 publishes pickles, which are not read"]
    assert not [one for one in logs if one["event"] == "bus_malformed"]
    assert Opened.times == 0
    await node.stop()
    record_property("seen", said(logs)[0])


@pytest.mark.single_server
async def test_a_server_on_the_sharded_adapter_is_named_once(
    valkey: Valkey, names: Names, record_property: Record
) -> None:
    with capture_logs() as logs:
        node = await Node(valkey.url, names, renew_every=0.05).start()
        assert await node.cluster.requests.sharded_peers(("/", "/chat")) == 0
        peer = await NodePeer.start(valkey.url, names[1].key, "sharded")
        await until(lambda: said(logs))
        assert await node.cluster.requests.sharded_peers(("/",)) == 1
        lease = node.cluster._due
        for _ in range(3):
            lease.set()
            await until(lambda: not lease.is_set())
    assert said(logs) == [
        "a server speaks the sharded Redis adapter; only the classic one is heard here"
    ]
    await peer.stop()
    await node.stop()
    record_property("seen", said(logs)[0])


NAMES = {
    "a family of four, joined": "stream:👨‍👩‍👧‍👦",
    "the flag of Scotland, of tags": "stream:🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "a heart with its variation selector": "stream:❤️‍🔥",
    "Persian with a non-joiner": "stream:می‌خواهم",
    "Hebrew with a mark of direction": "stream:שלום\u200f",
    "an ideographic space": "stream:東京\u3000駅",
    "decomposed hangul": "stream:\u110b\u1163\u11a8",
    "a soft hyphen": "stream:super\u00adlong",
    "of private use": "stream:\ue000",
    "newer than our tables": "stream:\U0001fadf",
}
NO_NAMES = {
    "nothing": "",
    "a line break": "stream:a\nb",
    "NUL": "stream:a\x00",
    "DEL": "stream:\x7f",
    "C1: next line": "stream:a\x85b",
    "line separator": "stream:a\u2028b",
    "paragraph separator": "stream:a\u2029b",
    "half an emoji": "stream:\ud83d",
    "129 bytes": "stream:" + "가" * 40 + "ab",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_what_unicode_has_in_names_may_stand_in_a_rooms(
    name: str, valkey: Valkey, names: Names, emitter: Emitter
) -> None:
    node = await Node(valkey.url, names).start()
    socket = await node.join("s1", name)
    await emitter.emit("x", {"id": "1"}, room=name)
    await node.heard_all()
    assert socket.ids == ["1"]
    await node.stop()


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="128 bytes"):
        free_emit("x", {}, (name,))
