"""Every client event of the tables has one handler, which takes and gives its forms."""

from typing import get_type_hints

import pytest

from hub.engine import Member
from hub.sockets.context import Node
from hub.sockets.namespaces import SERVED
from protocol.events import CLIENT_EVENTS, SERVER_EVENTS
from protocol.names import NAMESPACES

HANDLERS = {
    (row.name, name): handler for row in SERVED.values() for name, handler in row.handlers.items()
}


def test_every_event_has_a_handler() -> None:
    assert HANDLERS.keys() == CLIENT_EVENTS.keys()
    assert {name for name, _ in HANDLERS} <= set(SERVED) <= set(NAMESPACES)


@pytest.mark.parametrize("key", HANDLERS)
def test_a_handler_takes_and_gives_the_forms_of_its_row(key: tuple[str, str]) -> None:
    hints, event = get_type_hints(HANDLERS[key]), CLIENT_EVENTS[key]
    assert list(hints.values()) == [Node, Member, event.payload, event.ack]


@pytest.mark.parametrize("name", SERVED)
def test_what_is_counted_is_told_by_an_event_of_the_tables(name: str) -> None:
    row = SERVED[name]
    assert row.counted <= row.told
    event, message = row.count("stream:s", 3)
    assert type(message) is SERVER_EVENTS[event].payload
    assert SERVER_EVENTS[event].klass == "volatile"
