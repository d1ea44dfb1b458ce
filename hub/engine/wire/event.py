"""One event on its way to many: each encoding of it is made at most once."""

from __future__ import annotations

from typing import Any, Literal

from hub.engine.wire.frames import Part, frames
from hub.engine.wire.packets import DEFAULT, EVENT, encode

Kind = Literal["alert", "room", "volatile"]


class Event:
    """An event for members of a namespace.

    `args` is the name and the arguments. `kind` is the class: an alert overtakes what waits
    for a slow connection, a room event waits its turn, a volatile one is dropped there (with a
    `key` the newest of that key is kept). `offset` is the position in the log; it is sent as
    the last argument, and left out in the second encoding, the plain one. Offsets of a namespace
    are compared as text, so they have one width.
    """

    __slots__ = ("_frames", "_parts", "args", "key", "kind", "namespace", "offset", "wire")

    def __init__(
        self,
        args: list[Any],
        *,
        namespace: str = "/",
        kind: Kind = "room",
        key: str | None = None,
        offset: str | None = None,
    ) -> None:
        self.args = args
        self.namespace = namespace
        self.kind = kind
        self.key = key
        self.offset = offset
        self.wire: bytes | None = None
        self._parts: dict[tuple[int, bool], tuple[Part, ...]] = {}
        self._frames: dict[tuple[int, bool], bytes] = {}

    def parts(self, codec: int, plain: bool) -> tuple[Part, ...]:
        """The messages of Engine.IO in the codec asked for."""
        plain = plain or self.offset is None
        parts = self._parts.get((codec, plain))
        if parts is None:
            data = self.args if plain else [*self.args, self.offset]
            parts = encode(codec, EVENT, self.namespace, None, data)
            self._parts[codec, plain] = parts
        return parts

    def frame(self) -> bytes:
        """The stamped WebSocket frames of the default parser, kept."""
        if self.wire is None:
            self.wire = frames(self.parts(DEFAULT, False))
        return self.wire

    def frame_as(self, codec: int, plain: bool) -> bytes:
        """WebSocket frames of any encoding."""
        plain = plain or self.offset is None
        if codec == DEFAULT and plain is (self.offset is None):
            return self.frame()
        wire = self._frames.get((codec, plain))
        if wire is None:
            wire = self._frames[codec, plain] = frames(self.parts(codec, plain))
        return wire
