"""How a message is read: strict forms by msgspec, and one walk over whatever a stranger sent."""

import re
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import Annotated, Any, Final, TypeVar, get_args
from uuid import UUID

import msgspec
from msgspec import Meta, inspect

from protocol.errors import invalid
from protocol.names import is_plain

MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 2000
"""Nested levels, and values in all, of one payload."""

LEAST: Final = -(2**63)
MOST: Final = 2**64 - 1
"""Integers that msgpack and the JSON of every store can carry: 64 bits, signed or not."""

_NESTED: Final = frozenset((dict, list, tuple))
_FORBIDDEN_CHARS: Final = {*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D}

_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+(?![\s\S])"
Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        extra={"plain": True},
        extra_json_schema={"pattern": _PATTERN},
    ),
]
"""No control characters and no line breaks of any kind. A `pattern` of msgspec would cost each
event 3 us; `read` looks only where a text of the message holds any."""

TokenId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        extra={"plain": True},
        extra_json_schema={"pattern": _PATTERN},
    ),
]
"""The `jti` of a token, which another service may have given it."""

Code = Annotated[str, Meta(min_length=1, max_length=64)]
Title = Annotated[str, Meta(min_length=1, max_length=200)]
Content = Annotated[str, Meta(min_length=1, max_length=5000)]
Excerpt = Annotated[str, Meta(max_length=200)]
Hashtag = Annotated[str, Meta(min_length=1, max_length=50)]
Hashtags = Annotated[tuple[Hashtag, ...], Meta(max_length=10)]
Ids = Annotated[tuple[Id, ...], Meta(max_length=100)]
Moment = Annotated[datetime, Meta(tz=True)]
"""A time without its zone would be anybody's guess."""

Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]


class Message(msgspec.Struct, rename="camel", kw_only=True):
    """A form on the wire; fields are camelCase there and snake_case here."""


class Request(Message, forbid_unknown_fields=True):
    """What a client sends: a field nobody knows is refused, so that a typing error is seen."""


T = TypeVar("T")


def read(value: Any, form: type[T], *, max_items: int = MAX_ITEMS, strict: bool = True) -> T:
    """Turn plain JSON values into `form`; not `strict`: from texts, as a query holds them.

    Raises HubError INVALID_PAYLOAD; its message names the path, never the value.
    """
    plain_texts = check(value, max_items)
    try:
        made = msgspec.convert(value, form, strict=strict)
    except msgspec.ValidationError as error:
        raise invalid(sentence(error)) from None
    if not plain_texts:
        _check_ids(made, _shape(form))  # type: ignore[arg-type]
    if type(made) is tuple or moments_of(type(made)):  # type: ignore[arg-type]
        _check_moments(made)
    return made


def _check_moments(made: Any) -> None:
    if isinstance(made, tuple):
        for item in made:
            _check_moments(item)
        return
    for name in moments_of(made.__class__):
        moment = getattr(made, name)
        if moment is not None:
            in_utc(moment)


@cache
def moments_of(form: type) -> tuple[str, ...]:
    """The fields of a form that hold a time."""
    if not issubclass(form, msgspec.Struct):
        return ()
    return tuple(f.name for f in msgspec.structs.fields(form) if _holds_a_time(f.type))


def _holds_a_time(kind: Any) -> bool:
    return kind is datetime or any(_holds_a_time(part) for part in get_args(kind))


def uuid_of(text: str) -> UUID | None:
    """None for what is no id of ours; others give theirs as they like."""
    try:
        return UUID(text)
    except ValueError:
        return None


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC. Raises INVALID_PAYLOAD for one that has none: the first and the last
    hours of what a calendar knows lie outside of it in some zones (RFC 3339 §4.1 asks for UTC).
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise invalid("A time lies outside the years 1 to 9999 of UTC.") from None


@cache
def _shape(form: Any) -> inspect.Type:
    return inspect.type_info(form)


def _check_ids(value: Any, shape: inspect.Type) -> None:
    if isinstance(shape, inspect.Metadata):
        if isinstance(value, str) and (shape.extra or {}).get("plain") and not is_plain(value):
            raise invalid("An id holds no control characters and no line breaks.")
        _check_ids(value, shape.type)
    elif isinstance(shape, inspect.UnionType):
        for one in shape.types:
            _check_ids(value, one)
    elif isinstance(shape, inspect.VarTupleType) and isinstance(value, tuple):
        for item in value:
            _check_ids(item, shape.item_type)
    elif isinstance(shape, inspect.StructType) and isinstance(value, shape.cls):
        for field in shape.fields:
            _check_ids(getattr(value, field.name), field.type)


_ENUM: Final = re.compile(r"^Invalid enum value .*?(?= - at |$)", re.DOTALL)
_SENTENCE_CHARACTERS: Final = 200


def sentence(error: msgspec.ValidationError) -> str:
    """What msgspec says, without the value that it quotes of an enum."""
    return _ENUM.sub("Invalid value", str(error))[:_SENTENCE_CHARACTERS]


def read_json(body: bytes, form: type[T], *, max_items: int = MAX_ITEMS) -> T:
    """`read` for the bytes of a request body (JSON in UTF-8)."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise invalid("The body is not JSON in UTF-8.") from None
    return read(value, form, max_items=max_items)


def check(value: Any, max_items: int = MAX_ITEMS) -> bool:
    """Refuse what no form may hold: depth, size, control characters, lone surrogates, NaN,
    integers over 64 bits, bytes. False when a text holds line breaks or such, as texts may and ids
    may not.

    `value` is what a parser of JSON or msgpack made, so its types are plain.
    PostgreSQL cannot store NUL or surrogates, msgpack no longer integers, and NaN breaks JSON
    parsers of clients.
    """
    left, plain_texts = max_items, True
    stack: list[tuple[Any, int]] = [((value,), 0)]
    while stack:
        items, depth = stack.pop()
        left -= len(items)
        if left < 0:
            raise invalid(f"More than {max_items} values.")
        if depth >= MAX_DEPTH and items:
            raise invalid(f"Nested deeper than {MAX_DEPTH} levels.")
        if type(items) is dict:
            try:
                _check_text("".join(items))
            except TypeError:
                raise invalid("Keys must be text.") from None
            items = items.values()
        for item in items:
            kind = type(item)
            if kind is str:
                if not _check_text(item):
                    plain_texts = False
            elif kind is float:
                if not isfinite(item):
                    raise invalid("Numbers must be finite.")
            elif kind is int:
                if not LEAST <= item <= MOST:
                    raise invalid("Integers have 64 bits at most.")
            elif kind is bytes:
                raise invalid("Bytes are taken nowhere.")
            elif kind in _NESTED:
                stack.append((item, depth + 1))
    return plain_texts


def _check_text(text: str) -> bool:
    if text.isascii() and text.isprintable():
        return True
    for char in text:
        point = ord(char)
        if point in _FORBIDDEN_CHARS or 0xD800 <= point <= 0xDFFF:
            raise invalid("Text holds control characters or is not UTF-8.")
    return is_plain(text)


def plain(message: msgspec.Struct) -> dict[str, Any]:
    """The wire form of a message as plain JSON values (times as ISO 8601 text in UTC)."""
    value = msgspec.to_builtins(message)
    assert isinstance(value, dict)
    return value


def iso(moment: datetime) -> str:
    """ISO 8601 with milliseconds and Z, as JavaScript's toISOString writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
