"""The whole contract: what it must show."""

from tests.show import Item
from tests.show.browser import live_commerce
from tests.show.large import quick_reads

ITEMS = [
    Item("6", "each list of 100,000 questions and 1,000,000 notifications in 20 ms", quick_reads),
    Item("8", "a live-commerce page: two viewers, a shop and an operator", live_commerce),
]
