"""The domain model's cells: `user_id, room text PK; joined_at; muted bool. Index (…)`."""

import re
from typing import Any

from tests.contracts.fields import split_top, without_notes

TYPES = "text|int|bigint|float8|bool|uuid|jsonb|bytea|time|date|inet"
_COLUMN = re.compile(rf"([a-z][a-z0-9_]*)(?: ((?:{TYPES})(?:\[\])?)(?![\w\[]))?(| .*)")


def table_fields(name: str, cell: str) -> dict[str, Any]:
    """Columns with their types, whether they may be null and are in the primary key."""
    columns: list[dict[str, Any]] = []
    first_sentence = re.split(r"\. (?=[A-Z0-9])", without_notes(cell))[0]
    for part in first_sentence.split(";"):
        columns += _columns(part.strip().rstrip("."))
    key = re.search(r"PK \(([^)]*)\)", cell)
    for column in columns:
        if key and column["name"] in key[1].split(", "):
            column["primary_key"] = True
    return {
        "name": name.split(" ")[0],
        "partitioned": "monthly" if "monthly partitions" in name else None,
        "columns": columns,
        "text": cell,
    }


def _columns(part: str) -> list[dict[str, Any]]:
    """Names share the type, `null` and `PK` of the last one; a name alone that ends in `_at` is a
    time, and one alone that does not has no type on the page."""
    if re.match(r"(PK|Index|Indexes|Unique|one|autovacuum|Rows)\b", part):
        return []
    made: list[dict[str, Any]] = []
    for item in split_top(part):
        found = _COLUMN.fullmatch(item)
        if not found or (
            found[3].strip() and not re.match(r" (PK|null|unique|FK|default)", found[3])
        ):
            if made:  # a remark after the columns, as in `…, so a second try finds the same row`
                break
            raise ValueError(f"no column in {item!r}")
        made.append({"name": found[1], "type": found[2], "rest": found[3].strip()})
    return _shared(made)


def _shared(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = made[-1]
    columns = []
    for item in made:
        rest = item["rest"] or last["rest"]
        own_type = item["type"] or (None if item["name"].endswith("_at") else last["type"])
        columns.append(
            {
                "name": item["name"],
                "type": own_type or ("timestamptz" if _is_time(item["name"]) else None),
                "null": "null" in rest,
                "primary_key": "PK" in rest,
            }
        )
    return columns


def _is_time(name: str) -> bool:
    return name.endswith(("_at", "_until"))
