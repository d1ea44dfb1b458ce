"""The REST door as OpenAPI 3.1, printed from the table of routes."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from protocol.describe.schemas import TEXT_PATTERN, Document, Schemas
from protocol.errors import ERRORS
from protocol.rest.failures import Failure
from protocol.rest.operation import PREFIX, Operation
from protocol.rest.sessions import COOKIE, CSRF_HEADER

_FIGURES: Final = {
    "default": "10 a minute, a person and route",
    "anonymous default": "100 in 15 minutes an address",
    "service": "1000 calls and 10,000 items a minute a client",
    "exempt": "none",
}

NOTES: Final = (
    "JSON in UTF-8, fields in camelCase, times in ISO 8601 with their zone. Send `Authorization:"
    " Bearer` with a person's access token or a service's key. An error is {error: {code, message,"
    " details?, retryAfterMs?, requestId}}; 429 and 503 carry Retry-After. An unknown field or"
    " parameter is refused. An answer over 1 KiB is compressed for whoever takes gzip."
)


def openapi(operations: Sequence[Operation], version: str) -> Document:
    """The REST door as OpenAPI 3.1; paths are relative to the server's root."""
    schemas = Schemas([form for one in operations for form in _forms(one)] + [Failure])
    queries = {one.query.__name__ for one in operations if one.query is not None}
    paths: dict[str, Document] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dongne Hub REST",
            "version": version,
            "license": {"name": "MIT"},
            "description": NOTES,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": {
                name: schema for name, schema in schemas.components.items() if name not in queries
            },
            "responses": _responses(schemas),
            "securitySchemes": {
                "person": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "service": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A service client's key (dk_…) with the scope named.",
                },
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": CSRF_HEADER,
                    "description": "What the answer that set the cookie said: csrfToken.",
                },
            },
        },
    }


def _forms(one: Operation) -> list[Any]:
    return [form for form in (one.body, one.query, one.answer) if form is not None]


def _operation(one: Operation, schemas: Schemas) -> Document:
    told: Document = {
        "operationId": _operation_id(one),
        "summary": one.summary,
        "description": f"Auth: {one.auth}. Limit: {_limit(one)}.",
        "tags": [one.tag],
        "parameters": _parameters(one, schemas),
        "responses": _answers(one, schemas),
        "security": _security(one),
        "x-auth": str(one.auth),
        "x-limit": str(one.rate),
    }
    if one.body is not None:
        told["requestBody"] = {
            "required": _is_required(one.body),
            "content": {"application/json": {"schema": schemas.of(one.body)}},
        }
    return told


def _is_required(form: Any) -> bool:
    """Where every field may be left out, the body may be, too."""
    fields = getattr(form, "__struct_fields__", None)
    return fields is None or any(field.required for field in msgspec.structs.fields(form))


def _operation_id(one: Operation) -> str:
    words = one.path.removeprefix(PREFIX).replace("{", "by-").replace("}", "").replace(".", "-")
    return "-".join([one.method.lower(), *words.strip("/").split("/")])


def _limit(one: Operation) -> str:
    figure = _FIGURES.get(one.rate.word) or f"{one.rate.per_minute} a minute"
    figure += f", counted by {one.rate.by}" if one.rate.by else ""
    if one.rate.unverified:
        figure += f"; {one.rate.unverified} a minute and address for tokens that do not verify"
    return figure


def _parameters(one: Operation, schemas: Schemas) -> list[Document]:
    text = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": TEXT_PATTERN}
    found: list[Document] = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in one.names
    ]
    if one.query is not None:
        form = schemas.components[one.query.__name__]
        for name, schema in form["properties"].items():
            told = _without_null(schema)
            found.append({"name": name, "in": "query", "required": False, "schema": told})
    if one.idempotent:
        key = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": key,
                "description": "24 h: same body, same answer; another body, CONFLICT.",
            }
        )
    return found


def _without_null(schema: Document) -> Document:
    """A query has no null: what may be left out is left out."""
    given = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return given[0] if len(given) == 1 else schema


def _answers(one: Operation, schemas: Schemas) -> Document:
    success: Document = {"description": "Done"}
    if one.answer is not None:
        success["content"] = {"application/json": {"schema": schemas.of(one.answer)}}
    elif one.media:
        success["content"] = {media: {} for media in one.media}
    answers: Document = {str(one.status): success}
    answers |= {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in _errors(one)
    }
    if one.tag == "operations":  # health says no in its own words
        answers["503"] = {"description": "Not now", "content": success.get("content", {})}
    return dict(sorted(answers.items()))


def _errors(one: Operation) -> set[int]:
    found = {400, 401, 403, 500, 503}
    if one.rate.word != "exempt":
        found.add(429)
    if one.names or one.body is not None:
        found.add(404)
    if one.method != "GET":
        found.add(409)
    if one.body is not None:
        found |= {408, 413, 415}
    return found


def _security(one: Operation) -> list[Document]:
    if one.auth.kind == "service":
        return [{"service": []}, {"person": []}] if one.auth.admin else [{"service": []}]
    if one.auth.kind == "link":
        return [{}]
    person: list[Document] = [{"person": []}]
    if one.auth.scope:
        return [*person, {"service": []}]
    if one.auth.proof:
        return [{}, {"cookie": [], "csrf": []}]
    return [{}, *person] if one.auth.kind == "none" else person


_HTTP_WORDS: Final = {
    404: "NOT_FOUND",
    408: "INVALID_PAYLOAD: the body did not come in time",
    413: "INVALID_PAYLOAD: the body is larger than 1 MiB",
    415: "INVALID_PAYLOAD: the body is no application/json",
}


def _responses(schemas: Schemas) -> Document:
    words: dict[int, list[str]] = {}
    for code, spec in ERRORS.items():
        words.setdefault(spec.status, []).append(code.value)
    told = {status: ", ".join(codes) for status, codes in words.items()} | _HTTP_WORDS
    failure = {"application/json": {"schema": schemas.of(Failure)}}
    found: Document = {}
    for status, word in sorted(told.items()):
        found[str(status)] = {"description": word, "content": failure}
        if status in (429, 503):
            found[str(status)]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return found
