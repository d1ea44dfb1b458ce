"""Socket events and the events between services as AsyncAPI 3, printed from their tables.

The application described is the hub: it receives what clients send.
"""

from collections.abc import Iterable
from typing import Final

from protocol.describe.schemas import Document, Schemas
from protocol.domain_events import DOMAIN_EVENTS, Envelope
from protocol.errors import Code
from protocol.events import CLIENT_EVENTS, SERVER_EVENTS, ClientEvent, ServerEvent
from protocol.names import NAMESPACES
from protocol.payload import Message
from protocol.rest.failures import ErrorBody

EVENT_LIMITS: Final = {
    "default": "100 events in 10 s a person",
    "chat": "20 in 10 s a person, all rooms together",
}


NOTES: Final = (
    "Socket.IO at /socket.io/ with `auth: {token, deviceId?, recovery?}`. Every client event is"
    " acknowledged with {ok: true, …} or {ok: false, error: {code, message, retryAfterMs?,"
    " requestId}}. Every server event carries `id`; drop what you have seen. Classes: alert"
    " (recoverable, first), room (recoverable), volatile (the newest wins), - (one socket)."
)


def asyncapi(version: str) -> Document:
    """Every socket event and every event between services."""
    schemas = Schemas(_forms())
    messages = _socket_messages(schemas) | _domain_messages(schemas)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Dongne Hub events",
            "version": version,
            "license": {"name": "MIT"},
            "description": NOTES,
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": messages,
            "schemas": schemas.components | {"Ack": _ack(schemas)},
        },
    }


def _forms() -> list[type[Message]]:
    clients = CLIENT_EVENTS.values()
    forms: list[type[Message]] = [event.payload for event in clients]
    forms += [event.ack for event in clients]
    forms += [event.payload for event in SERVER_EVENTS.values()]
    forms += [event.payload for event in DOMAIN_EVENTS.values()]
    return [*forms, Envelope, ErrorBody]


def _socket_messages(schemas: Schemas) -> Document:
    clients = {_key(one.name): _client(one, schemas) for one in CLIENT_EVENTS.values()}
    return clients | {_key(name): _server(event, schemas) for name, event in SERVER_EVENTS.items()}


def _client(event: ClientEvent, schemas: Schemas) -> Document:
    return {
        "name": event.name,
        "payload": schemas.of(event.payload),
        "x-namespace": event.namespace,
        "x-limit": EVENT_LIMITS[event.limit],
        "x-ack": {"allOf": [{"$ref": "#/components/schemas/Ack"}, schemas.of(event.ack)]},
        "x-codes": [code.value for code in Code],
    }


def _server(event: ServerEvent, schemas: Schemas) -> Document:
    """Every server event carries `id`, beside its fields."""
    once = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    return {
        "name": event.name,
        "payload": {"allOf": [once, schemas.of(event.payload)]},
        "x-namespace": event.namespace,
        "x-class": event.klass,
        "x-room": event.room,
    }


def _domain_messages(schemas: Schemas) -> Document:
    """The envelope with the event's own payload in it."""
    found: Document = {}
    for name, event in DOMAIN_EVENTS.items():
        inner = {
            "properties": {
                "eventType": {"const": name},
                "payload": schemas.of(event.payload),
            }
        }
        found[_key(name)] = {
            "name": name,
            "payload": {"allOf": [schemas.of(Envelope), inner]},
            "x-direction": event.direction,
            "x-guarantee": event.guarantee,
            "x-publisher": event.publisher,
        }
    return found


def _ack(schemas: Schemas) -> Document:
    return {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "error": schemas.of(ErrorBody)},
        "required": ["ok"],
    }


def _channels() -> Document:
    """One channel a namespace that has events, and the two streams between services."""
    found: Document = {}
    for namespace in NAMESPACES:
        names = [event.name for event in _socket_events() if event.namespace == namespace]
        if names:
            found[_channel(namespace)] = _messages(namespace, names)
    taken = [name for name, event in DOMAIN_EVENTS.items() if event.direction != "out"]
    told = [name for name, event in DOMAIN_EVENTS.items() if event.direction != "in"]
    return found | {
        "eventsIn": _messages("events", taken),
        "eventsOut": _messages("events:out", told),
    }


def _socket_events() -> list[ClientEvent | ServerEvent]:
    return [*CLIENT_EVENTS.values(), *SERVER_EVENTS.values()]


def _messages(address: str, names: Iterable[str]) -> Document:
    refs = {_key(name): {"$ref": f"#/components/messages/{_key(name)}"} for name in names}
    return {"address": address, "messages": refs}


def _operations() -> Document:
    found: Document = {}
    for client in CLIENT_EVENTS.values():
        found[_key(client.name)] = _operation("receive", _channel(client.namespace), client.name)
    for name, server in SERVER_EVENTS.items():
        found[_key(name)] = _operation("send", _channel(server.namespace), name)
    for name, event in DOMAIN_EVENTS.items():
        if event.direction != "out":
            found[f"take-{_key(name)}"] = _operation("receive", "eventsIn", name)
        if event.direction != "in":
            found[f"tell-{_key(name)}"] = _operation("send", "eventsOut", name)
    return found


def _operation(action: str, channel: str, name: str) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{_key(name)}"}],
    }


def _key(name: str) -> str:
    """A component's key takes letters, digits, dots and hyphens; dots tell the two kinds apart."""
    return name.replace(":", "-")


def _channel(namespace: str) -> str:
    return namespace.strip("/") or "root"
