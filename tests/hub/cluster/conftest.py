"""A Redis of the test session on free ports, and what every cluster test needs of it.

REDIS_OF_TESTS=cluster takes a Redis Cluster instead of a single server for the same tests: of three
masters and three replicas where it lasts, of one node where a test kills or stops it.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.server import Server
from protocol.names import Channels, Keys
from tests.hub.cluster.slots import ON_A_CLUSTER, Alone, Slots, fresh_names
from tests.hub.cluster.valkey import Valkey


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is about a single server, or about Sentinels, says so."""
    if ON_A_CLUSTER:
        for item in items:
            if item.get_closest_marker("single_server") is not None:
                item.add_marker(pytest.mark.skip(reason="about a server outside of a cluster"))


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey | Slots]:
    server = Slots() if ON_A_CLUSTER else Valkey()
    yield server
    server.close()


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server of this test alone, to be killed or stopped."""
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    server = Alone(*kept) if ON_A_CLUSTER else Valkey(*kept)
    yield server
    server.close()


@pytest.fixture
def names() -> tuple[Keys, Channels]:
    """Keys and channels no other test uses."""
    return fresh_names()


@pytest.fixture
async def line(valkey: Valkey) -> AsyncIterator[Line]:
    line = Line(Server.of(valkey.url), "test")
    yield line
    await line.close()


@pytest.fixture
def emitter(line: Line, names: tuple[Keys, Channels]) -> Emitter:
    """On a cluster also to those who know no sharded channels; our own hear nothing twice."""
    return Emitter(line, *names, classic_out=True)
