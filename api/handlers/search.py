"""Search, and what is used most."""

from api.route import Call
from hub.domain import statistics
from hub.domain.questions import search
from protocol.rest.search import Found, SearchQuery, Trending, TrendingQuery


async def find(call: Call[None, SearchQuery]) -> Found:
    """Search questions and hashtags; Korean is found without spaces."""
    return await search.search(call.domain, call.query)


async def trending(call: Call[None, TrendingQuery]) -> Trending:
    """Hashtags of the last 24 hours, of one region or of all."""
    return await statistics.trending(call.domain, call.query.region)
