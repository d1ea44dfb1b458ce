"""Reads the tables of the product page into contract.json, which tests compare the code with.

    python -m tests.contracts.make_contract PRODUCT.md

Run once for each new state of the page. A cell that no rule here understands is an error, never
left out silently; every row also keeps its own text.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.contracts.columns import table_fields
from tests.contracts.fields import Field, fields, without_notes
from tests.contracts.settings_rows import variables

OUTPUT = Path(__file__).with_name("contract.json")
NO_PREFIX = ("/docs", "/health", "/metrics", "/console")
ROUTE_WORDS = re.compile(
    r"(?:GET|POST|PUT|DELETE)(?: and (?:GET|POST|PUT|DELETE))*|same|/[\w/{}.-]+"
)
Row = dict[str, str]


def tables(text: str) -> dict[str, list[list[Row]]]:
    """Heading → its tables, each a list of rows by column name."""
    found: dict[str, list[list[Row]]] = {}
    heading, columns = "", list[str]()
    for line in text.splitlines():
        if line.startswith("#"):
            heading, columns = line.lstrip("# "), []
        elif not line.startswith("| "):
            columns = columns if line.startswith("|---") else []
        else:
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            if not columns:
                columns = cells
                found.setdefault(heading, []).append([])
            else:
                found[heading][-1].append(dict(zip(columns, cells, strict=True)))
    return found


def by_heading(text: str, start: str, number: int = 0) -> list[Row]:
    """The rows of a heading's table. Raises KeyError when the page has none."""
    for heading, of_heading in tables(text).items():
        if heading.startswith(start):
            return of_heading[number]
    raise KeyError(start)


def closed_list(text: str, introduction: str) -> list[str]:
    """The names after an introduction, up to the end of the sentence."""
    found = re.search(re.escape(introduction) + r"\s*([^.]+)\.", text)
    if not found:
        raise KeyError(introduction)
    return [name.strip() for name in found[1].split(",")]


def events(text: str, namespace: str) -> list[dict[str, Any]]:
    made = []
    for row in by_heading(text, f"Namespace {namespace}"):
        for name in re.split(r" / |, ", row["Event"]):
            made.append(
                {
                    "name": name.rstrip("*"),
                    "from_sources": name.endswith("*"),
                    "direction": row["Direction"].replace(" → ", "_to_"),
                    "payload": row["Payload"],
                    "fields": fields(row["Payload"]),
                    "ack": row["Ack"],
                    "ack_fields": fields(row["Ack"]),
                    "room": row["Room"],
                    **_class(row["Class"]),
                    "limit": row["Limit"],
                }
            )
    return made


def _class(cell: str) -> dict[str, str | None]:
    """`volatile (room)`: the class, and the key by which the newest wins."""
    name, _, key = cell.rstrip(")").partition(" (")
    return {"class": name, "volatile_key": key or None}


def endpoints(text: str) -> list[dict[str, Any]]:
    made = []
    for row in by_heading(text, "REST endpoints"):
        named = ROUTE_WORDS.findall(without_notes(row["Method and path"]))
        request, _, response = row["Request → response"].partition("→")
        routes = list(_routes(named))
        for method, path in routes:
            made.append(
                {
                    "method": method,
                    "path": path if path.startswith(NO_PREFIX) else f"/api/v1{path}",
                    "idempotency_key": "‡" in row["Method and path"],
                    "auth": row["Auth"],
                    "limit": row["Limit"],
                    "request": request.strip(),
                    "response": response.strip(),
                    # of a row with several routes nothing says which field is whose
                    "request_fields": fields(request) if len(routes) == 1 else None,
                }
            )
    return made


def _routes(words: list[str]) -> list[tuple[str, str]]:
    """`PUT and DELETE /x`, `GET /x, PUT same`, `GET /x, /y`, as pairs."""
    found: list[tuple[str, str]] = []
    methods, path = list[str](), ""
    for word in words:
        if word.split(" ")[0].isupper():
            methods = word.split(" and ")
        else:
            path = path if word == "same" else word
            found += [(method, path) for method in methods]
    return found


def domain_events(text: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "direction": row["Direction"].split(" ")[0],
            "payload": row["Payload"],
            "fields": _domain_fields(row["Payload"], index),
            "guarantee": row["Guarantee"],
        }
        for row in by_heading(text, "Domain events")
        for index, name in enumerate(without_notes(row["Event"]).strip().split(" / "))
    ]


def _domain_fields(payload: str, index: int) -> list[Field]:
    """`a, b; plus c when present`: what follows `plus` may be left out. `a, x / y`: one for each
    of the row's events. `changed fields` are any of the thing's own."""
    always, _, perhaps = payload.partition("; plus ")
    *first, last = always.split(", ")
    kept = [*first, *last.split(" / ")[index : index + 1]] if " / " in last else [*first, last]
    certain = fields(", ".join(part for part in kept if part != "changed fields"))
    more = fields(perhaps.replace(" when present", ""))
    return certain + [{**field, "optional": True} for field in more]


def contract(text: str) -> dict[str, Any]:
    return {
        "every_server_event": fields("id, deadlineAt?"),
        "errors": closed_list(text, "**Codes.**"),
        "explain_reasons": closed_list(text, "withheld something is one of:"),
        "scopes": closed_list(text, "Scopes, closed list:"),
        "rooms": by_heading(text, "Socket.IO events"),
        "namespaces": {name: events(text, name) for name in ("/", "/chat", "/streaming")},
        "rest": endpoints(text),
        "domain_events": domain_events(text),
        "jobs": by_heading(text, "Jobs"),
        "configuration": variables(by_heading(text, "Configuration")),
        "tables": [
            table_fields(row["Table"], row["Fields"])
            for row in by_heading(text, "Domain model")
            if not row["Table"].startswith("(")
        ],
        "processes": by_heading(text, "Processes"),
        "commands": by_heading(text, "Processes", 1),
        "push_and_mail": by_heading(text, "Push and mail"),
    }


def main(page: Path) -> None:
    made = contract(page.read_text())
    OUTPUT.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.contracts.make_contract PRODUCT.md")
    main(Path(sys.argv[1]))
