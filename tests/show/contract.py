"""The whole contract: what it must show."""

from tests.show import Item, contract_stories, contract_tests
from tests.show.browser import live_commerce
from tests.show.chatting import chatting
from tests.show.connecting import connecting
from tests.show.large import quick_reads
from tests.show.replay import reads_of_production
from tests.show.rest_speed import inbox_beside_its_query, list_beside_aiohttp

ITEMS = [
    Item("1", "every section of the contract, and schemathesis", contract_tests.row_by_row),
    Item("2", "a login outlives its tokens and ends at once", contract_stories.sessions),
    Item("3", "limits are exact over two nodes", contract_stories.exact_limits),
    Item("4", "an event delivered five times has one effect", contract_stories.one_effect),
    Item("5", "36,000 reads in six minutes while a replica is killed", reads_of_production),
    Item("6", "each list of 100,000 questions and 1,000,000 notifications in 20 ms", quick_reads),
    Item("7", "what strangers try is refused and counted", contract_tests.strangers),
    Item("8", "a live-commerce page: two viewers, a shop and an operator", live_commerce),
    Item("9", "what is said in a room, while a node dies", contract_stories.said_once),
    Item("speed.1", "a cached list at half of what aiohttp alone answers", list_beside_aiohttp),
    Item("speed.2", "an inbox at half of what its query alone gives", inbox_beside_its_query),
    Item("speed.3", "10,000 connect with everything on, beside Node with the same", connecting),
    Item("speed.4", "500 messages a second in a room of 200", chatting),
]
