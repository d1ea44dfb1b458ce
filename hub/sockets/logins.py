"""How often people come in, and how often an address tries in vain: counted by this process.

What one node is made to do is bounded on that node; no store is asked for it.
"""

import time
from typing import Final

from hub.engine import Handshake, Refusal, reasons
from protocol.address import counted_as
from protocol.errors import Code, HubError

MINUTE_S: Final = 60.0
EACH_A_MINUTE: Final = 10
"""Times a minute that each socket a person may have may come in."""

FEWEST_A_MINUTE: Final = 60

ABUSE: Final = frozenset({reasons.BAD_PACKET, reasons.REFUSED_TOO_OFTEN})


class Logins:
    """`per_address` is CONN_MAX_IP: as many logins of one address (an IPv6 /64) may fail in a
    minute, and a session that ended for what it sent is one of them. `per_person` is
    CONN_MAX_USER. All counts begin anew together, each minute, so nothing is kept of anybody for
    longer.
    """

    def __init__(self, per_address: int, per_person: int) -> None:
        self._may_fail = per_address
        self._may_come = max(FEWEST_A_MINUTE, EACH_A_MINUTE * per_person)
        self._failed: dict[str, int] = {}
        self._came: dict[str, int] = {}
        self._until = 0.0

    def came(self, user_id: str) -> None:
        """Raises RATE_LIMITED for a person who comes in too often."""
        left_s = self._left_s()
        times = self._came[user_id] = self._came.get(user_id, 0) + 1
        if times > self._may_come:
            raise HubError(Code.RATE_LIMITED, retry_after_ms=round(left_s * 1000))

    def failed(self, address: str) -> bool:
        """Count a login that failed; whether that is one of not too many."""
        self._left_s()
        network = counted_as(address)
        times = self._failed[network] = self._failed.get(network, 0) + 1
        return times <= self._may_fail

    def ended(self, address: str, reason: str) -> None:
        """A session ended; who is closed for what it sends must not simply dial again."""
        if reason in ABUSE:
            self.failed(address)

    def refusal(self, handshake: Handshake) -> Refusal | None:
        """Why a handshake is refused: an address of failed logins waits until they are past."""
        if not self._failed:
            return None
        left_s = self._left_s()
        if self._failed.get(counted_as(handshake.address), 0) < self._may_fail:
            return None
        return Refusal("failed_logins", round(left_s) + 1)

    def _left_s(self) -> float:
        """How long this minute still is."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + MINUTE_S
            self._failed.clear()
            self._came.clear()
        return self._until - now
