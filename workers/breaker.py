"""A breaker for each provider: after errors in a row it is left alone, then asked by one call."""

import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from purgatory import SyncCircuitBreakerFactory

from hub.plumbing.metrics import BREAKER_STATE
from workers.senders import Outcome, Temporary

_STATES: Final = {"closed": 0, "half-opened": 1, "opened": 2}
_ONE_MAILBOX: Final = re.compile(r"\b4\.[12]\.\d+$")  # RFC 3463 §3.2, §3.3: address, mailbox
_PROBE_S: Final = 0.25
"""How long to wait before asking again whether the one call that tries the provider is back."""


class Blocked(Exception):
    """The provider is left alone for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"breaker open for {seconds:.1f} s")
        self.seconds = seconds


class _Failed(Exception):
    """How purgatory is told of an outcome: it counts exceptions."""


class Breaker:
    """Opens after `errors` temporary failures in a row; `reset_s` later one call may try.

    What a provider says about one message, one token or one mailbox is no failure of its own.
    """

    def __init__(self, provider: str, errors: int, reset_s: float) -> None:
        factory = SyncCircuitBreakerFactory(default_threshold=errors, default_ttl=reset_s)
        factory.add_listener(self._note)
        self._gauge = BREAKER_STATE.labels(provider=provider)
        self._gauge.set(0)
        self._circuit = factory.get_breaker(provider)
        self._probing = False

    def blocked_s(self) -> float:
        """Seconds until a call may be made; 0 when it may."""
        context = self._circuit.context
        if context.state == "closed":
            return 0.0
        if self._probing:
            return _PROBE_S
        opened = context.opened_at if context.state == "opened" else None
        # purgatory wants a moment more than the time to live
        return 0.0 if opened is None else max(0.0, opened + context.ttl + 0.001 - time.time())

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Round the work of one job. Raises Blocked; half-open, it lets in one job at a time."""
        blocked = self.blocked_s()
        if blocked:
            raise Blocked(blocked)
        probe = self._circuit.context.state != "closed"
        self._probing = self._probing or probe
        try:
            yield
        finally:
            if probe:
                self._probing = False

    async def call(self, send: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Send, and count what came of it. A job that was let in finishes all its calls."""
        if self._circuit.context.state == "opened" and not self._probing:
            return await send()
        try:
            with self._circuit:
                outcome = await send()
                if _is_failure(outcome):
                    raise _Failed
        except _Failed:
            pass
        return outcome

    def _note(self, _name: str, event: str, change: Any) -> None:
        if event == "state_changed":
            self._gauge.set(_STATES[change.state])


def _is_failure(outcome: Outcome) -> bool:
    return isinstance(outcome, Temporary) and _ONE_MAILBOX.search(outcome.code) is None
