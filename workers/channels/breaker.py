"""A breaker for each provider: after errors in a row it is left alone, then asked by one call."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from hub.plumbing.telemetry.metrics import BREAKER_STATE
from workers.channels.outcome import (
    NOT_ASKED,
    About,
    Blocked,
    Outcome,
    Permanent,
    Sent,
    Temporary,
)

State = Literal["closed", "half-open", "open"]
_GAUGE: Final[dict[State, int]] = {"closed": 0, "half-open": 1, "open": 2}
_PROBE_S: Final = 0.25
"""How long to wait before asking again whether the one call that tries the provider is back."""


class Breaker:
    """Opens after `errors` failures of the provider in a row; `reset_s` later one call may try.

    What a provider says about one message, one device, one mailbox or about us is no failure of
    its own. Failures of calls that were under way together have one cause and count once: a
    failure counts only if its call began after the last one that counted was known. So an outage
    that calls wait for (a time-out) opens it after so many time-outs, not after so many calls.
    """

    def __init__(
        self,
        provider: str,
        errors: int,
        reset_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._errors = errors
        self._reset_s = reset_s
        self._clock = clock
        self._gauge = BREAKER_STATE.labels(provider=provider)
        self._failures = 0
        self._counted_at = -float("inf")
        self._opened_at = 0.0
        self._state: State = "closed"
        self._gauge.set(0)

    def blocked_s(self) -> float:
        """Seconds until a call may be made; 0 when it may."""
        if self._state == "closed":
            return 0.0
        if self._state == "half-open":
            return _PROBE_S
        return max(0.0, self._opened_at + self._reset_s - self._clock())

    async def call(self, send: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Send, and count what came of it; Blocked while nobody, or only one call, may ask."""
        blocked_s = self.blocked_s()
        if blocked_s:
            return Blocked(blocked_s)
        tries = self._state == "open"
        if tries:
            self._enter("half-open")
        began = self._clock()
        try:
            outcome = await send()
            if isinstance(outcome, Temporary) and outcome.about is About.PROVIDER:
                self._failed(began)
            elif isinstance(outcome, Sent | Permanent | Temporary) and _was_asked(outcome):
                self._answered(began)
        finally:
            if tries and self._state == "half-open":
                self._enter("open")  # nobody was asked: the next call may try at once
        return outcome

    def _failed(self, began: float) -> None:
        if began < self._counted_at or self._state == "open":
            return
        self._counted_at = self._clock()
        self._failures += 1
        if self._state == "half-open" or self._failures >= self._errors:
            self._opened_at = self._counted_at
            self._enter("open")

    def _answered(self, began: float) -> None:
        """While it is tried, an answer to a call of before says nothing of what came since."""
        if self._state == "open" or (self._state == "half-open" and began < self._counted_at):
            return
        self._failures = 0
        self._enter("closed")

    def _enter(self, state: State) -> None:
        self._state = state
        self._gauge.set(_GAUGE[state])


def _was_asked(outcome: Sent | Permanent | Temporary) -> bool:
    return isinstance(outcome, Sent) or outcome.code not in NOT_ASKED
