"""Forms as JSON Schema, many at once, so that each stands in a document's components once."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

Document = dict[str, Any]

_REFS: Final = "#/components/schemas/{name}"

TEXT_PATTERN: Final = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$"
"""What `protocol.payload.check` lets through, as schemas can say it."""


class Schemas:
    def __init__(self, forms: Iterable[Any]) -> None:
        unique = list({repr(form): form for form in forms}.values())
        found, self.components = msgspec.json.schema_components(unique, ref_template=_REFS)
        self._by_form = dict(zip(map(repr, unique), found, strict=True))
        for schema in self.components.values():
            _limit_texts(schema)

    def of(self, form: Any) -> Document:
        return self._by_form[repr(form)]


def _limit_texts(schema: Any) -> None:
    """Every text of ours is free of control characters: say so where nothing stricter is said."""
    if isinstance(schema, list):
        for one in schema:
            _limit_texts(one)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "string" and not {"pattern", "format", "enum"} & schema.keys():
        schema["pattern"] = TEXT_PATTERN
    for name, inner in schema.items():
        if name not in ("default", "examples", "enum"):
            _limit_texts(inner)
