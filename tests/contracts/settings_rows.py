"""The configuration table: several variables a row, their defaults in the same order."""

import re
from typing import Any

from tests.contracts.fields import without_notes

_IN_NOTE = re.compile(r"^or ((?:[A-Z]+_[A-Z_]+(?: \d+)?(?:, )?)+)")


def variables(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Name, default (None: no value; text as on the page, `empty` as an empty one), alias, note."""
    return [variable for row in rows for variable in _row(row)]


def _row(row: dict[str, str]) -> list[dict[str, Any]]:
    names, aliases = _names(row["Variable"])
    note = row["Note"]
    made = [
        {"name": name, "default": default, "alias": aliases.get(name), "note": note}
        for name, default in zip(names, _defaults(row, names), strict=True)
    ]
    if also := _IN_NOTE.match(note):
        for word in also[1].removesuffix(", ").split(", "):
            name, _, default = word.partition(" ")
            made.append({"name": name, "default": default or None, "alias": None, "note": note})
    return made


def _names(cell: str) -> tuple[list[str], dict[str, str]]:
    aliases = dict(re.findall(r"([A-Z_]+) \(([A-Z_]+)\)", cell))
    if queue := re.fullmatch(r"(\w+_)(\w+)_(\w+) / (\w+) / (\w+), same for (.+)", cell):
        prefix, first, *measures, others = queue.groups()
        queues = [first, *others.split(", ")]
        return [f"{prefix}{name}_{measure}" for name in queues for measure in measures], {}
    return re.split(r"[,;] ", without_notes(cell)), aliases


def _defaults(row: dict[str, str], names: list[str]) -> list[str | None]:
    """One for each name, one for all, or one for all but the last group of names."""
    cell = row["Default"]
    for separator in (r"[,;] ", "; ", "[,/] ?"):
        parts = re.split(separator, cell)
        if len(parts) == len(names):
            return [_value(part) for part in parts]
    if re.fullmatch(r"\S+|by environment", cell):
        return [_value(cell)] * len(names)
    first, _, last = cell.partition("; ")
    of_last = len(row["Variable"].split("; ")[-1].split(", "))
    if "," in cell or not last or of_last != 1:
        raise ValueError(f"no default for each of {row['Variable']!r}: {cell!r}")
    return [_value(first)] * (len(names) - 1) + [_value(last)]


def _value(text: str) -> str | None:
    text = text.strip()
    return {"–": None, "empty": ""}.get(text, text)
