"""Every route of the code stands in the contract, and what is not built yet is named."""

import json
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from api.docs import docs_routes
from api.health import METRICS, Vitals, health_routes
from api.route import Route
from api.routes import ROUTES
from hub.domain.people.sessions import ALL_SCOPES
from protocol.errors import Code
from protocol.payload import Message
from protocol.rest.operation import PREFIX

CONTRACT: Final = json.loads(Path(__file__).with_name("contract.json").read_text())

ELSEWHERE: Final = {"POST /console/token"}
"""Mounted by the console."""


def key(method: str, path: str) -> str:
    return f"{method} {re.sub(r'{[^}]*}', '{}', path)}"


VITALS: Final = Vitals(needed={})
BUILT: Final[dict[str, Route]] = {
    key(route.method, route.path): route
    for route in (*ROUTES, *docs_routes(ROUTES, "1"), *health_routes(VITALS), METRICS)
}
TOLD: Final[dict[str, dict[str, Any]]] = {
    key(row["method"], row["path"]): row for row in CONTRACT["rest"]
}
SHARED: Final = sorted(set(TOLD) & set(BUILT))


def test_everything_is_built() -> None:
    assert set(TOLD) - set(BUILT) - ELSEWHERE == set()


def test_every_route_of_the_code_is_in_the_contract() -> None:
    """Aliases of health (C07) and the documents behind /docs stand there as words."""
    words = re.compile(rf"GET ({PREFIX})?/(health.*|healthz|ready|docs/.*\.json)$")
    assert {name for name in set(BUILT) - set(TOLD) if not words.match(name)} == set()


@pytest.mark.parametrize("name", SHARED)
def test_auth_limit_and_idempotency_are_the_contracts(name: str) -> None:
    route, row = BUILT[name], TOLD[name]
    auth = re.split("[,;]", row["auth"])[0]
    assert str(route.auth).split(",")[0] == auth
    assert str(route.rate) == row["limit"]
    assert route.idempotent == row["idempotency_key"]


def test_every_route_says_in_a_line_what_it_does() -> None:
    for name, route in BUILT.items():
        assert 0 < len(route.summary) <= 90, name
        assert route.tag, name


@pytest.mark.parametrize("name", SHARED)
def test_success_has_the_contracts_status(name: str) -> None:
    route = BUILT[name]
    told = re.match(r"(20\d)", TOLD[name]["response"])
    if told:
        assert route.status == int(told[1])
    assert (route.status == 204) == (route.answer is None and not route.media)


@pytest.mark.parametrize("name", SHARED)
def test_a_request_has_the_contracts_fields(name: str) -> None:
    route, row = BUILT[name], TOLD[name]
    form = route.body or route.query
    if not row["request_fields"] or not (isinstance(form, type) and issubclass(form, Message)):
        return
    told = {field["name"] for field in row["request_fields"]}
    fields = {field.encode_name: field for field in msgspec.structs.fields(form)}
    assert set(fields) == told
    for field in row["request_fields"]:
        if field.get("optional") and field["name"] in fields:
            assert not fields[field["name"]].required, field["name"]


RESPONSES: Final = {
    "POST /api/v1/auth/sessions": {"accessToken", "refreshToken", "expiresIn"},
    "POST /api/v1/locations": {"regionCode", "neighbourhoodCode"},
    "POST /api/v1/notifications": {"ids"},
    "POST /api/v1/notifications/acks": {"unread"},
    "GET /api/v1/notifications/{}": {"items", "unread", "next"},
    "GET /api/v1/notifications/{}/unread-count": {"count", "byKind"},
    "PUT /api/v1/notifications/{}/read": {"unread"},
    "PUT /api/v1/notifications/read-all": {"unread"},
    "POST /api/v1/rooms/{}/broadcasts": {"broadcastId"},
    "GET /api/v1/rooms/{}/presence": {"count", "users"},
    "GET /api/v1/rooms/{}/messages": {"items"},
    "POST /api/v1/events": {"accepted", "duplicates"},
    "GET /api/v1/questions": {"questions", "pagination"},
    "GET /api/v1/search": {"questions", "tags", "pagination"},
    "GET /api/v1/trending": {"trendingTags", "window"},
}


@pytest.mark.parametrize("name", RESPONSES)
def test_an_answer_has_the_contracts_fields(name: str) -> None:
    form = BUILT[name].answer
    assert form is not None
    assert {field.encode_name for field in msgspec.structs.fields(form)} == RESPONSES[name]
    words = set(re.findall(r"\w+", TOLD[name]["response"])) | {"items"}  # "20 per page"
    assert RESPONSES[name] <= words


def test_codes_and_scopes_are_the_contracts() -> None:
    assert [code.value for code in Code] == CONTRACT["errors"]
    assert list(ALL_SCOPES) == CONTRACT["scopes"]
    used = {route.auth.scope for route in ROUTES if route.auth.scope}
    assert used <= set(ALL_SCOPES)
