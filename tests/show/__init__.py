"""Lists of what must be shown to work, with figures: `make show WHAT=main-job` runs
tests/show/main_job.py.

Such a module has `ITEMS: list[Item]`.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Verdict(NamedTuple):
    """Whether it was shown, and the figures that were measured (`n=100 p50=3.1ms p95=…`)."""

    passed: bool
    figures: str


class Item(NamedTuple):
    """One line of the list: `number` as printed (1.4), and what measures it."""

    number: str
    title: str
    measure: Callable[[], Verdict | Awaitable[Verdict]]
