"""The rules that read the product page, on cells as they stand there."""

import pytest

from tests.contracts.columns import table_fields
from tests.contracts.fields import fields
from tests.contracts.make_contract import endpoints
from tests.contracts.settings_rows import variables


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("–", []),
        ("lat, lng, accuracyM? (FORBIDDEN, without consent)", ["lat", "lng", "accuracyM?"]),
        ("claims, leaseUntil, or CONFLICT when all are taken", ["claims", "leaseUntil"]),
        ("ids[] or all with before", ["ids[]?", "all?", "before?"]),
        ("userId, issuedBefore?, or jti", ["userId", "issuedBefore?", "jti?"]),
        ("reason; then disconnect on all nodes", ["reason"]),
    ],
)
def test_a_cell_names_its_fields(cell: str, names: list[str]) -> None:
    read = fields(cell)
    marks = [f["name"] + "[]" * ("list" in f) + "?" * ("optional" in f) for f in read]
    assert marks == names


def test_nested_fields_are_kept_and_left_out_ones_are_none() -> None:
    author, seen, tags = fields("author{userId, nickname}, seen{…}, tags[{tag, count}]")
    assert author["fields"] == [{"name": "userId"}, {"name": "nickname"}]
    assert seen["fields"] is None
    assert (tags["list"], len(tags["fields"])) == (True, 2)


def test_columns_share_the_type_the_null_and_the_key_of_the_last() -> None:
    read = table_fields(
        "t (monthly partitions)",
        "id uuid (v5; of x); created_at; PK (id, created_at), so it is found; a, b int null; "
        "c text, d text PK; tags text[] (GIN). Index (a)",
    )
    columns = {c["name"]: (c["type"], c["null"], c["primary_key"]) for c in read["columns"]}
    assert read["partitioned"] == "monthly"
    assert columns == {
        "id": ("uuid", False, True),
        "created_at": ("timestamptz", False, True),
        "a": ("int", True, False),
        "b": ("int", True, False),
        "c": ("text", False, True),
        "d": ("text", False, True),
        "tags": ("text[]", False, False),
    }


def test_a_column_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="no column"):
        table_fields("t", "Something else entirely")


def test_routes_are_told_apart() -> None:
    page = (
        "## REST endpoints\n"
        "| Method and path | Auth | Limit | Request → response |\n|---|---|---|---|\n"
        "| PUT and DELETE /a/{id}, GET same ‡ | user | 5/min | x → 204 |\n"
        "| GET /health/live, /health/ready and aliases; GET /metrics (a port) | none | – | x |\n"
    )
    assert [(e["method"], e["path"]) for e in endpoints(page)] == [
        ("PUT", "/api/v1/a/{id}"),
        ("DELETE", "/api/v1/a/{id}"),
        ("GET", "/api/v1/a/{id}"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
    ]


@pytest.mark.parametrize(
    ("names", "defaults", "read"),
    [
        ("A_B (C_D), E_F", "1, empty", {"A_B": "1", "E_F": ""}),
        ("A_A, B_B; C_C", "–; 10", {"A_A": None, "B_B": None, "C_C": "10"}),
        ("A_A; B_B", "x,y; 2", {"A_A": "x,y", "B_B": "2"}),
        ("Q_A_X / Y / Z, same for B", "1/2/3, 4/–/5", {"Q_A_Y": "2", "Q_B_Y": None}),
    ],
)
def test_defaults_stand_in_the_order_of_the_names(
    names: str, defaults: str, read: dict[str, str | None]
) -> None:
    made = variables([{"Variable": names, "Default": defaults, "Note": ""}])
    assert read.items() <= {v["name"]: v["default"] for v in made}.items()


def test_a_default_that_fits_no_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="no default"):
        variables([{"Variable": "A_A, B_B, C_C", "Default": "1, 2", "Note": ""}])
