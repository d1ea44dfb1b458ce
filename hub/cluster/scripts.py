"""The Lua scripts that run on Redis, one file each in `lua/`, named verb or noun_verb."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    source: str
    sha: str

    @classmethod
    def read(cls, name: str) -> "Script":
        source = resources.files("hub.cluster").joinpath("lua", f"{name}.lua").read_text()
        digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        return cls(source, digest)


PUBLISH: Final = Script.read("publish")
SOCKET_ENTER: Final = Script.read("socket_enter")
SOCKETS_RENEW: Final = Script.read("sockets_renew")
PLACE_ENTER: Final = Script.read("place_enter")
PLACE_LEAVE: Final = Script.read("place_leave")
LIVING_COUNT: Final = Script.read("living_count")

ALL: Final = (PUBLISH, SOCKET_ENTER, SOCKETS_RENEW, PLACE_ENTER, PLACE_LEAVE, LIVING_COUNT)
"""Loaded on every new connection, so that a pipeline never meets NOSCRIPT half way through."""
