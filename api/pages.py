"""The pages under /docs as HTML, drawn from the documents."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

import msgspec

STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--accent:#c2410c}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
a{color:var(--accent)}nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.5rem 0 1rem}
code,pre{font:13px/1.5 ui-monospace,monospace}
pre{overflow:auto;background:var(--soft);padding:.75rem;border-radius:.4rem;margin:.5rem 0}
details{border-top:1px solid var(--line)}details[open]{padding-bottom:.5rem}
summary{cursor:pointer;padding:.6rem 0;display:flex;flex-wrap:wrap;gap:.1rem .6rem}
summary::marker{content:''}summary code{font-weight:600;overflow-wrap:anywhere}
.m{color:var(--accent);min-width:3.6rem}.s{opacity:.75}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0}
td{border-top:1px solid var(--line)}
"""

_LINKS: Final = (
    ("/docs", "API"),
    ("/docs/codes", "Codes"),
    ("/docs/openapi.json", "openapi.json"),
    ("/docs/asyncapi.json", "asyncapi.json"),
)

Document = Mapping[str, Any]


def index(rest: Document, events: Document) -> str:
    """Every operation and every event, folded; opened it shows its forms."""
    parts = [f"<p>{escape(rest['info']['description'])}</p>"]
    schemas = {**events["components"]["schemas"], **rest["components"]["schemas"]}
    for tag in rest["tags"]:
        parts.append(f"<h2 id={escape(tag['name'])}>REST: {escape(tag['name'])}</h2>")
        parts += [
            _operation(method, path, one, schemas)
            for path, methods in rest["paths"].items()
            for method, one in methods.items()
            if tag["name"] in one["tags"]
        ]
    parts.append(f"<h2>Sockets</h2><p>{escape(events['info']['description'])}</p>")
    for title, messages in _groups(events):
        parts.append(f"<h2>{escape(title)}</h2>")
        parts += [_message(one, schemas) for one in messages]
    return _page("Dongne Hub API", "".join(parts))


def _operation(method: str, path: str, one: Document, schemas: Document) -> str:
    head = f"<span class=m>{method.upper()}</span><code>{escape(path)}</code>"
    parts = [f"<p>{escape(one['description'])}</p>"]
    query = [row["name"] for row in one["parameters"] if row["in"] != "path"]
    if query:
        parts.append(f"<p>Parameters: {_codes(query)}</p>")
    if "requestBody" in one:
        form = one["requestBody"]["content"]["application/json"]["schema"]
        parts.append(f"<p>Body</p>{_form(form, schemas)}")
    for status, answer in one["responses"].items():
        content = answer.get("content", {}).get("application/json", {}).get("schema")
        if content:
            parts.append(f"<p>{escape(status)}</p>{_form(content, schemas)}")
    errors = [status for status, answer in one["responses"].items() if "$ref" in answer]
    if errors:
        parts.append(f"<p>Errors: {escape(', '.join(errors))}</p>")
    return _folded(head, one["summary"], "".join(parts))


def _groups(events: Document) -> Iterable[tuple[str, list[Document]]]:
    messages = events["components"]["messages"].values()
    yield "Socket events: client to server", [m for m in messages if "x-ack" in m]
    yield "Socket events: server to client", [m for m in messages if "x-class" in m]
    yield "Events between services", [m for m in messages if "x-direction" in m]


_NOTES: Final = ("namespace", "room", "class", "limit", "direction", "guarantee", "publisher")


def _message(one: Document, schemas: Document) -> str:
    notes = [f"{name}: {one[f'x-{name}']}" for name in _NOTES if f"x-{name}" in one]
    parts = [f"<p>{escape('. '.join(notes))}.</p>", _form(one["payload"], schemas)]
    if "x-ack" in one:
        parts.append(f"<p>Acknowledged with</p>{_form(one['x-ack'], schemas)}")
        parts.append(f"<p>Codes: {_codes(one['x-codes'])}</p>")
    return _folded(f"<code>{escape(one['name'])}</code>", "", "".join(parts))


def _folded(head: str, summary: str, body: str) -> str:
    told = f"<span class=s>{escape(summary)}</span>" if summary else ""
    return f"<details><summary>{head}{told}</summary>{body}</details>"


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"<code>{escape(word)}</code>" for word in words)


def _form(schema: Document, schemas: Document) -> str:
    """A form as its fields, one a line: what one copies while writing a client."""
    resolved = _resolved(schema, schemas)
    text = msgspec.json.format(msgspec.json.encode(resolved), indent=2).decode()
    return f"<pre>{escape(text)}</pre>"


def _resolved(schema: Any, schemas: Document, depth: int = 0) -> Any:
    """`{name: type}` of a schema, its references followed four levels deep."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _resolved(schemas[name], schemas, depth + 1) if depth < 4 else name
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= _resolved(part, schemas, depth)
        return merged
    if "anyOf" in schema:
        return _either([_resolved(part, schemas, depth) for part in schema["anyOf"]])
    if "properties" in schema:
        required = schema.get("required", ())
        return {
            name if name in required else f"{name}?": _resolved(inner, schemas, depth)
            for name, inner in schema["properties"].items()
        }
    if schema.get("type") == "array":
        inner = schema.get("items") or {}
        return [_resolved(inner, schemas, depth)]
    return _word(schema)


def _either(options: list[Any]) -> Any:
    given = [one for one in options if one != "null"]
    if all(isinstance(one, str) for one in given):
        return " | ".join(options)
    return given[0]


def _word(schema: Document) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    word = schema.get("format") or schema.get("type") or "any"
    low = schema.get("minimum", schema.get("minLength"))
    high = schema.get("maximum", schema.get("maxLength"))
    bounds = f" {'' if low is None else low}..{'' if high is None else high}"
    return f"{word}{bounds}" if (low, high) != (None, None) else str(word)


def codes(table: Mapping[str, list[dict[str, Any]]]) -> str:
    errors = [
        (row["code"], row["status"], _yes(row["comeBack"]), row["connect"], row["meaning"])
        for row in table["errors"]
    ]
    closes = [
        (row["reason"], ", ".join(map(str, row["codes"])), _yes(row["comeBack"]), row["meaning"])
        for row in table["closes"]
    ]
    body = "<h2>Errors</h2><p>REST answers, acknowledgements, CONNECT_ERROR.</p>"
    body += _table(("Code", "HTTP", "Come back", "At connect", "Meaning"), errors)
    body += "<h2>Why a socket closed</h2>"
    body += _table(("Reason", "WebSocket", "Come back", "Meaning"), closes)
    return _page("Dongne Hub codes", body)


def _yes(value: bool) -> str:
    return "yes, later" if value else "no"


def _table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=scroll><table><tr>{head}</tr>{body}</table></div>"


def _page(title: str, body: str) -> str:
    links = "".join(f'<a href="{path}">{escape(text)}</a>' for path, text in _LINKS)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f"<h1>{escape(title)}</h1><nav>{links}</nav><main>{body}</main></html>"
    )
