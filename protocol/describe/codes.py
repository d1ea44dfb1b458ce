"""Every error and close code with whether to come back: what /docs/codes shows."""

from dataclasses import dataclass
from typing import Any, Final

from protocol.errors import ERRORS


@dataclass(frozen=True, slots=True)
class Close:
    """Why a socket ended. `reason` is the hub's word (logs, metrics); `codes` the WebSocket's:
    1006 where TCP ended without a Close frame (RFC 6455 §7.1.5), as all clients notice that."""

    reason: str
    codes: tuple[int, ...]
    come_back: bool
    sentence: str


CLOSES: Final = (
    Close("client disconnect", (1000,), False, "Your client disconnected."),
    Close("server disconnect", (1000,), False, "The hub disconnected you, for good."),
    Close("refused", (1000,), False, "The CONNECT was refused; its error says why."),
    Close("transport close", (1000, 1006), True, "The connection ended under the session."),
    Close("transport error", (1006,), True, "The connection broke."),
    Close("ping timeout", (1006,), True, "No PONG came in time."),
    Close("connect timeout", (1006,), True, "No CONNECT came in time."),
    Close("slow consumer", (1006,), True, "More waited for this connection than it took."),
    Close("bad packet", (1002, 1007, 1008), True, "What was sent is no packet of the protocol."),
    Close("refused too often", (1008,), True, "Too many events of one socket were refused."),
    Close("server shutting down", (1006,), True, "This node goes away: another takes over."),
)


def codes() -> dict[str, list[dict[str, Any]]]:
    """`errors` (REST, acknowledgements, CONNECT_ERROR) and `closes` (sockets)."""
    return {
        "errors": [
            {
                "code": code.value,
                "status": spec.status,
                "comeBack": spec.retry,
                "connect": spec.connect,
                "meaning": spec.sentence,
            }
            for code, spec in ERRORS.items()
        ],
        "closes": [
            {
                "reason": close.reason,
                "codes": list(close.codes),
                "comeBack": close.come_back,
                "meaning": close.sentence,
            }
            for close in CLOSES
        ],
    }
