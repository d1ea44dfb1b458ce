"""One try of a job, and how a try ends other than well."""

import random
from dataclasses import dataclass
from datetime import datetime

from hub.domain.rules.reasons import Reason
from hub.plumbing.settings.product import Jobs


@dataclass(frozen=True, slots=True)
class Attempt:
    """`number` counts from 1 to `most`; `made_at` is when the job was enqueued.

    `retry_s`: how long to wait before the next one. `withhold`: why its channel cannot be used
    now. `again`: the job was held as a dead letter and put back.
    """

    number: int
    most: int
    made_at: datetime
    retry_s: float
    withhold: Reason | None = None
    again: bool = False

    @property
    def last(self) -> bool:
        return self.number >= self.most


class TryAgain(Exception):
    """Everything is recorded, and the job is to run again after `seconds`."""

    def __init__(self, code: str, seconds: float) -> None:
        super().__init__(code)
        self.seconds = seconds


class GaveUp(Exception):
    """The last try failed with a code of the provider's: the job is held as a dead letter."""


def backoff_s(figures: Jobs, number: int) -> float:
    """Seconds after try `number`: RETRY_DELAY × RETRY_FACTOR … RETRY_MAX_DELAY, half of it jitter.

    Jitter only shortens, so that no wait is longer than the setting says.
    """
    longest = figures.retry_max_delay_ms / 1000
    # an exponent without bound would overflow
    grown = figures.retry_delay_ms / 1000 * figures.retry_factor ** min(number - 1, 64)
    return min(grown, longest) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
