"""The documents printed from the tables: whole, and without a loose end."""

from typing import Any

import pytest

from api.health import Vitals, health_routes
from api.routes import ROUTES
from hub.engine import reasons
from protocol.describe import asyncapi, codes, openapi
from protocol.describe.codes import CLOSES
from protocol.domain_events import DOMAIN_EVENTS
from protocol.errors import ERRORS
from protocol.events import CLIENT_EVENTS, SERVER_EVENTS
from protocol.rest.operation import PREFIX

HEALTH = [one for one in health_routes(Vitals(needed={})) if one.path.startswith(PREFIX)]
OPERATIONS = [*ROUTES, *HEALTH]
REST = openapi(OPERATIONS, "1.2.3")
EVENTS = asyncapi("1.2.3")


def references(value: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(value, dict):
        found |= {value["$ref"]} if "$ref" in value else set()
        for inner in value.values():
            found |= references(inner)
    if isinstance(value, list):
        for inner in value:
            found |= references(inner)
    return found


def resolve(document: dict[str, Any], reference: str) -> Any:
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


@pytest.mark.parametrize("document", [REST, EVENTS], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = references(document)
    assert found
    for reference in found:
        assert resolve(document, reference) is not None


def test_every_schema_is_used() -> None:
    for document in (REST, EVENTS):
        used = references(document)
        for name in document["components"]["schemas"]:
            assert f"#/components/schemas/{name}" in used, name


def test_every_route_is_an_operation_of_its_own() -> None:
    told = [one for methods in REST["paths"].values() for one in methods.values()]
    assert len(told) == len(OPERATIONS)
    assert len({one["operationId"] for one in told}) == len(OPERATIONS)
    assert REST["openapi"] == "3.1.0"


def test_a_route_tells_its_auth_limit_forms_and_errors() -> None:
    ask = REST["paths"]["/api/v1/questions"]["post"]
    assert (ask["x-auth"], ask["x-limit"]) == ("user", "5/min")
    assert ask["security"] == [{"person": []}]
    assert [row["name"] for row in ask["parameters"]] == ["Idempotency-Key"]
    form = ask["requestBody"]["content"]["application/json"]["schema"]
    assert form == {"$ref": "#/components/schemas/Ask"}
    assert set(ask["responses"]) >= {"201", "400", "401", "409", "413", "429", "503"}
    schema = REST["components"]["schemas"]["Ask"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["title", "content"]
    assert schema["properties"]["title"]["maxLength"] == 200


def test_health_says_no_in_its_own_words() -> None:
    ready = REST["paths"][f"{PREFIX}/health/ready"]["get"]["responses"]
    assert ready["503"]["description"] == "Not now"
    assert "429" not in ready


def test_a_query_is_told_without_null() -> None:
    listed = REST["paths"]["/api/v1/questions"]["get"]["parameters"]
    by_name = {row["name"]: row["schema"] for row in listed}
    assert set(by_name) == {"region", "category", "hashtags", "q", "page", "sortBy"}
    assert by_name["region"]["type"] == "string"
    assert by_name["page"]["maximum"] == 500


def test_every_event_is_told_with_what_a_client_needs() -> None:
    messages = {one["name"]: one for one in EVENTS["components"]["messages"].values()}
    sent = [one.name for one in CLIENT_EVENTS.values()]
    assert sorted(messages) == sorted([*sent, *SERVER_EVENTS, *DOMAIN_EVENTS])
    sync = messages["inbox:sync"]
    assert sync["x-limit"] == "100 events in 10 s a person"
    assert set(sync["x-codes"]) == {code.value for code in ERRORS}
    urgent = messages["question:urgent"]
    assert urgent["x-class"] == "alert"
    assert urgent["x-room"].startswith("cell:{h3} of the wave")
    assert urgent["payload"]["allOf"][0]["required"] == ["id"]
    assert messages["question.created"]["x-guarantee"] == "exactly-once"


def test_clients_send_what_the_hub_receives() -> None:
    actions = {name: one["action"] for name, one in EVENTS["operations"].items()}
    assert actions["inbox-sync"] == "receive"
    assert actions["question-urgent"] == "send"
    assert actions["take-user.registered"] == "receive"
    assert "tell-user.registered" not in actions
    assert "take-points.credited" not in actions


def test_codes_hold_every_error_and_every_reason_of_the_engine() -> None:
    told = codes()
    assert [row["code"] for row in told["errors"]] == [code.value for code in ERRORS]
    words = {value for name, value in vars(reasons).items() if name.isupper() and name != "FINAL"}
    assert {close.reason for close in CLOSES} == words
    final = {close.reason for close in CLOSES if not close.come_back}
    assert final == reasons.FINAL
