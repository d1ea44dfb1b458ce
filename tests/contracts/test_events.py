"""Every event of the code stands in the contract with its fields; what is missing is named."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from protocol.domain_events import DOMAIN_EVENTS
from protocol.events import CLIENT_EVENTS, SERVER_EVENTS
from protocol.payload import Message

CONTRACT: Final = json.loads(Path(__file__).with_name("contract.json").read_text())

SOCKET: Final[dict[str, dict[str, Any]]] = {
    row["name"]: row | {"namespace": namespace}
    for namespace, rows in CONTRACT["namespaces"].items()
    for row in rows
}
DOMAIN: Final[dict[str, dict[str, Any]]] = {row["name"]: row for row in CONTRACT["domain_events"]}

OK_ALONE: Final = {"question:leave"}
"""Shares its row with question:join; leaving gives back nothing but `ok`."""


def names(form: type[Message]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(form)}


def told(fields: list[dict[str, Any]] | None) -> set[str]:
    return {field["name"] for field in fields or ()}


BEYOND: Final = {"notification:new": {"expiresAt"}}
"""What events have beside the page's fields: without it a device that heard of a notification by
its event would count it as unread for ever (deploy/docs/inbox.md)."""

LIMITS: Final = {"default": "default", "chat": "20 per 10 s, all rooms together"}


SENT: Final = {event.name: event for event in CLIENT_EVENTS.values()}


def test_a_name_of_the_contract_is_one_event() -> None:
    assert len(SOCKET) == sum(len(rows) for rows in CONTRACT["namespaces"].values())
    assert len(SENT) == len(CLIENT_EVENTS)
    assert set(SENT).isdisjoint(SERVER_EVENTS)
    assert all(key == (event.namespace, event.name) for key, event in CLIENT_EVENTS.items())


def test_everything_is_built() -> None:
    assert set(SOCKET) - set(SENT) - set(SERVER_EVENTS) == set()
    assert set(DOMAIN) - set(DOMAIN_EVENTS) == set()


def test_every_event_of_the_code_is_in_the_contract() -> None:
    assert set(SENT) | set(SERVER_EVENTS) <= set(SOCKET)
    assert set(DOMAIN_EVENTS) <= set(DOMAIN)


@pytest.mark.parametrize("name", SENT)
def test_what_clients_send_is_the_contracts(name: str) -> None:
    event, row = SENT[name], SOCKET[name]
    assert row["direction"] == "client_to_server"
    assert event.namespace == row["namespace"]
    assert LIMITS[event.limit] == row["limit"]
    assert names(event.payload) == told(row["fields"])


@pytest.mark.parametrize("name", SENT)
def test_what_they_get_back_is_the_contracts(name: str) -> None:
    expected = set() if name in OK_ALONE else told(SOCKET[name]["ack_fields"])
    assert names(SENT[name].ack) == expected


@pytest.mark.parametrize("name", SERVER_EVENTS)
def test_what_the_server_sends_is_the_contracts(name: str) -> None:
    event, row = SERVER_EVENTS[name], SOCKET[name]
    assert row["direction"] == "server_to_client"
    assert event.namespace == row["namespace"]
    assert event.klass == row["class"].replace("–", "-")
    always = told(CONTRACT["every_server_event"])
    assert names(event.payload) - always - BEYOND.get(name, set()) == told(row["fields"]) - always


@pytest.mark.parametrize("name", SERVER_EVENTS)
def test_a_nested_form_has_the_contracts_fields(name: str) -> None:
    forms = {f.encode_name: f.type for f in msgspec.structs.fields(SERVER_EVENTS[name].payload)}
    for field in SOCKET[name]["fields"]:
        inner = forms.get(field["name"])
        if field.get("fields") and isinstance(inner, type) and issubclass(inner, Message):
            assert names(inner) == told(field["fields"]), field["name"]


def test_a_deadline_stands_where_the_contract_has_one() -> None:
    for name, event in SERVER_EVENTS.items():
        row = SOCKET[name]
        assert ("deadlineAt" in names(event.payload)) == ("deadlineAt" in told(row["fields"])), name


@pytest.mark.parametrize("name", DOMAIN_EVENTS)
def test_events_between_services_are_the_contracts(name: str) -> None:
    event, row = DOMAIN_EVENTS[name], DOMAIN[name]
    assert row["direction"] == ("out" if event.direction == "out" else "in")
    assert row["guarantee"].startswith(event.guarantee)
    assert told(row["fields"]) <= names(event.payload)
