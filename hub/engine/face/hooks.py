"""What the application may hang on the server beside its handlers, and what it may say there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hub.engine.rooms.member import Member


class Unavailable(Exception):
    """Raised by an admit hook or connect handler where waiting helps: the transport is closed
    and the client comes back."""


class NotTaken(Exception):
    """An event the engine did not take; the text is the counter's label."""


Extra = Mapping[str, Any] | None
Admit = Callable[[Member, Any], "Extra | Awaitable[Extra]"]
"""Called with a held member and its auth payload (`pid` and `offset` taken out) before the
connect handler. It authenticates, may rename the member, enter rooms and replay, and gives further
keys of the CONNECT reply. It may raise socketio's ConnectionRefusedError (→ CONNECT_ERROR) or
Unavailable (→ the transport is closed)."""

Failed = Callable[[Member, str, Exception | None], Any]
"""What to acknowledge when a handler raised, the engine did not take an event (NotTaken), or (None)
when an event has no handler."""

Ended = Callable[[str, str], None]
"""Called with the address of a session and the reason (`reasons`) when it has ended."""


class Hooks:
    """Set by the application, read whenever one is due."""

    __slots__ = ("admit", "ended", "failed")

    def __init__(self) -> None:
        self.admit: Admit | None = None
        self.failed: Failed | None = None
        self.ended: Ended | None = None
