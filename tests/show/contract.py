"""The whole contract: what it must show."""

from tests.show import Item
from tests.show.browser import live_commerce

ITEMS = [
    Item("8", "a live-commerce page: two viewers, a shop and an operator", live_commerce),
]
