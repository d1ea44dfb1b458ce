"""Where a provider refuses us (our key, our project, our server's name): told once, and counted.

Nothing that is about us costs a device, an address or a breaker; somebody has to be woken instead.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog

from hub.plumbing.life.lasting import Lasting
from hub.plumbing.telemetry.metrics import PROVIDER_ANSWERS, PROVIDER_REFUSES
from workers.channels.outcome import NOT_ASKED, About, Outcome, Permanent, Sent, Temporary

QUIET_S: Final = 60.0
"""So long without a refusal, and something sent since: it is mended. Less would flicker where
only some messages are refused (those of one platform, or to one domain)."""

log = structlog.get_logger(__name__)


class Refusals:
    """Of one provider: `provider_refuses` is 1 while they last, and the log says what was said.

    One line of level error when they begin, then with growing pauses, one when they are over; it
    names the provider and its code, never a recipient or the provider's own text.
    """

    def __init__(self, provider: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._clock = clock
        self._last = 0.0
        self._gauge = PROVIDER_REFUSES.labels(provider=provider)
        self._gauge.set(0)
        self._state = Lasting(
            log, "a provider refuses us", "a provider takes what we send again", clock, alarm=True
        )

    def note(self, outcome: Outcome) -> None:
        """Call with each outcome, whatever it is."""
        about = about_of(outcome)
        if about is not None:
            PROVIDER_ANSWERS.labels(provider=self._provider, about=about).inc()
        if isinstance(outcome, Temporary) and outcome.about is About.US:
            self._last = self._clock()
            self._gauge.set(1)
            self._state.seen(provider=self._provider, code=outcome.code)
        elif isinstance(outcome, Sent) and self._clock() - self._last >= QUIET_S:
            self._gauge.set(0)
            self._state.over(provider=self._provider)


def about_of(outcome: Outcome) -> str | None:
    """`sent`, or whom a refusal is about; None where nobody was asked."""
    match outcome:
        case Sent():
            return "sent"
        case Temporary(about=about):
            return about.value
        case Permanent(code) if code not in NOT_ASKED:
            return About.RECIPIENT.value
        case _:
            return None
