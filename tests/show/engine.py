"""The engine: what it must show."""

from functools import partial

from tests.show import Item
from tests.show.engine_fuzz import show as hostile_bytes
from tests.show.engine_ratios import RULES
from tests.show.engine_ratios import show as ratios
from tests.show.engine_slow import show as slow_consumers
from tests.show.engine_soak import show as soak
from tests.show.engine_suites import show as suites

ITEMS = [
    Item("2.1", "official suites, three times over and strictly", suites),
    *(Item(f"2.2.{name}", f"ratios, {name}", partial(ratios, name)) for name in RULES),
    Item("2.3", "slow consumers", slow_consumers),
    Item("2.4", "soak", soak),
    Item("2.5", "hostile bytes", hostile_bytes),
]
