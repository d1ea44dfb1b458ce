"""What stock clients can decode: the rules of socket.io-parser 4.2.7 and socket.io-msgpack-parser
3.0.2, after whose breach a client closes its connection as `parse error`.

An event that breaks one is refused where it is published. In a log it would be replayed at each
return, and its client would never connect again.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol.errors import Code

RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Names that clients keep for themselves."""

MOST_ATTACHMENTS: Final = 10
"""Binary parts of one packet (`maxAttachments` of the parser)."""

MOST_LEVELS: Final = 128
"""Nested lists and maps, the arguments' own list included: what both our encoders can write."""

_BINARY: Final = (bytes, bytearray, memoryview)
_NESTED: Final = (dict, list, tuple)


class Untellable(ValueError):
    """What no stock client could be told, refused before anything is sent. `code` is that of the
    closed list; the text names the rule, never a value.
    """

    code: Final = Code.INVALID_PAYLOAD


def check_event(name: str, args: Sequence[Any]) -> None:
    """Raises Untellable."""
    if name in RESERVED_EVENTS:
        raise Untellable(f"clients keep the name {name} for themselves")
    check_values(args)


def check_values(values: Sequence[Any]) -> None:
    """The arguments of an event or an acknowledgement. Raises Untellable.

    A map `{_placeholder: true}` beside binary parts would be taken for the place of one of them.
    """
    parts = placeholders = 0
    level: list[Any] = [values]
    for _ in range(MOST_LEVELS):
        below: list[Any] = []
        for nest in level:
            if isinstance(nest, dict):
                placeholders += nest.get("_placeholder") is True
                nest = nest.values()
            for value in nest:
                if isinstance(value, _NESTED):
                    below.append(value)
                elif isinstance(value, _BINARY):
                    parts += 1
        if not below:
            break
        level = below
    else:
        raise Untellable(f"nested deeper than {MOST_LEVELS} levels")
    if parts > MOST_ATTACHMENTS:
        raise Untellable(f"more than {MOST_ATTACHMENTS} binary parts")
    if parts and placeholders:
        raise Untellable("a placeholder beside binary parts")
