"""Every socket message, both ways: name, fields, room, class, limit.

Each noun has a file with its forms and its rows. The two tables made of them are the law: the gate,
the emitter and the AsyncAPI page read them, and a test holds them against the contract.
"""

from datetime import datetime
from typing import Final

from protocol.events import chat, inbox, places, questions, rooms, session, streaming, tags
from protocol.events.outgoing import Emit, Move, Revocation
from protocol.events.row import Class, ClientEvent, ServerEvent
from protocol.payload import Message, plain

__all__ = [
    "CLIENT_EVENTS",
    "SERVER_EVENTS",
    "Class",
    "ClientEvent",
    "Emit",
    "Move",
    "Revocation",
    "ServerEvent",
    "emit",
]

CLIENT_EVENTS: Final[dict[tuple[str, str], ClientEvent]] = {
    (event.namespace, event.name): event
    for event in (
        *session.CLIENT,
        *places.CLIENT,
        *questions.CLIENT,
        *tags.CLIENT,
        *streaming.CLIENT,
        *chat.CLIENT,
        *rooms.CLIENT,
        *inbox.CLIENT,
    )
}
"""By namespace and name: one name may be an event of several namespaces."""

SERVER_EVENTS: Final[dict[str, ServerEvent]] = {
    event.name: event
    for event in (
        *session.SERVER,
        *places.SERVER,
        *questions.SERVER,
        *inbox.SERVER,
        *rooms.SERVER,
        *streaming.SERVER,
        *chat.SERVER,
    )
}
"""By name alone: what carries one name has one form, in whatever namespace it is told."""


def emit(
    name: str,
    message: Message,
    *,
    id: str,
    rooms: tuple[str, ...],
    except_rooms: tuple[str, ...] = (),
    namespace: str | None = None,
    key: str = "",
    deadline: datetime | None = None,
) -> Emit:
    """An event of the table, ready for the outbox; `id` and `deadlineAt` stand in its data too."""
    event = SERVER_EVENTS[name]
    if type(message) is not event.payload:
        raise TypeError(f"{name} carries {event.payload.__name__}")
    return Emit(
        id=id,
        event=name,
        rooms=rooms,
        data={"id": id, **plain(message)},
        namespace=namespace or event.namespace,
        except_rooms=except_rooms,
        klass=event.klass,
        key=key,
        deadline=deadline.timestamp() if deadline else None,
    )
