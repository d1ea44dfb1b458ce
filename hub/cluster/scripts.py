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
    def read(cls, name: str, *shared: str) -> "Script":
        """The file `name`, behind the files of local functions it needs."""
        folder = resources.files("hub.cluster").joinpath("lua")
        source = "\n".join(folder.joinpath(f"{part}.lua").read_text() for part in (*shared, name))
        digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        return cls(source, digest)


PUBLISH: Final = Script.read("publish", "_epoch")
EVENT_OUT: Final = Script.read("event_out")
REVOKE: Final = Script.read("revoke")
BEAT: Final = Script.read("beat", "_epoch")
WHERE: Final = Script.read("where", "_epoch")
LOG_READ: Final = Script.read("log_read", "_epoch")
SOCKET_ENTER: Final = Script.read("socket_enter")
SOCKETS_RENEW: Final = Script.read("sockets_renew")
PLACE_ENTER: Final = Script.read("place_enter")
PLACE_LEAVE: Final = Script.read("place_leave")
LIVING_COUNT: Final = Script.read("living_count")
SESSION_OPEN: Final = Script.read("session_open", "_epoch")
SESSION_MOVE: Final = Script.read("session_move", "_epoch")
SESSION_CLAIM: Final = Script.read("session_claim")
SESSION_END: Final = Script.read("session_end")
SESSION_REPLAY: Final = Script.read("session_replay")
SESSIONS_RENEW: Final = Script.read("sessions_renew")

ALL: Final = (
    PUBLISH,
    EVENT_OUT,
    REVOKE,
    BEAT,
    WHERE,
    LOG_READ,
    SOCKET_ENTER,
    SOCKETS_RENEW,
    PLACE_ENTER,
    PLACE_LEAVE,
    LIVING_COUNT,
    SESSION_OPEN,
    SESSION_MOVE,
    SESSION_CLAIM,
    SESSION_END,
    SESSION_REPLAY,
    SESSIONS_RENEW,
)
"""Loaded on every new connection, so that a pipeline never meets NOSCRIPT half way through."""
