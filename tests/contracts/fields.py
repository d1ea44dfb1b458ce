"""Cells that list fields: `ids[]?, author{userId, nickname} (a note), limit (max 100)`."""

import re
from typing import Any

Field = dict[str, Any]

_FIELD = re.compile(r"([a-zA-Z][A-Za-z0-9]*)(\[\{.*\}\]|\{.*\})?(\[\])?(\?)?")


def fields(text: str) -> list[Field]:
    """Name, `list`, `optional` and nested `fields` (None where the page writes `{…}`) of each.

    Notes in brackets, what follows a semicolon, and `or CODE when …` are no fields.
    """
    head = without_notes(text).split(";")[0].strip()
    parts = [part for part in split_top(head) if part and part not in ("–", "-")]
    return [field for part in parts for field in _alternatives(part)]


def _alternatives(part: str) -> list[Field]:
    """`ids[] or all with before`, `or jti`: one of them is given, so each may be left out."""
    words = re.split(r"^or | or | with ", part)
    names = [word for word in words if word]
    if len(words) > 1 and all(_FIELD.fullmatch(name) for name in names):
        return [{**_field(name), "optional": True} for name in names]
    return [_field(part)]


def _field(part: str) -> Field:
    found = _FIELD.match(part)
    if not found:
        raise ValueError(f"no field in {part!r}")
    name, inner, is_list, optional = found.groups()
    field: Field = {"name": name}
    if is_list or (inner or "").startswith("["):
        field["list"] = True
    if optional:
        field["optional"] = True
    if inner:
        names = inner.strip("[]{}")
        field["fields"] = None if names == "…" else fields(names)
    return field


def split_top(text: str) -> list[str]:
    """Split at the commas that stand in no bracket; `or CODE …` ends the list."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "{[(") - (character in "}])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if not re.match(r"\s*or [A-Z]{2}", part)]


def without_notes(text: str) -> str:
    """Without what stands in round brackets, however deep."""
    before = None
    while before != text:
        before, text = text, re.sub(r"\s*\([^()]*\)", "", text)
    return text
