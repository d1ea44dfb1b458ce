"""Search, and what is used most."""

from typing import Literal

from protocol.events.places import TagCount
from protocol.normal import code_of, words_of
from protocol.payload import Code, Message, Request
from protocol.rest.paging import CachedQuery, Pagination
from protocol.rest.questions import Page, Question, Words


class SearchQuery(CachedQuery):
    """`q`: of the questions that hold the words the newest 200 are found; words that very many hold
    are looked for among the newest 5,000 alone. `kind`: only one of both; by default questions and
    hashtags. How often a hashtag is used is counted among the newest 500 questions where these
    have it often, else among 1,000 that have it.
    """

    q: Words
    region: Code | None = None
    kind: Literal["questions", "tags"] | None = None
    page: Page = 1

    def __post_init__(self) -> None:
        self.q = " ".join(words_of(self.q))
        self.region = code_of(self.region)


class Found(Message):
    questions: tuple[Question, ...]
    tags: tuple[TagCount, ...]
    pagination: Pagination


class TrendingQuery(Request):
    region: Code | None = None

    def __post_init__(self) -> None:
        self.region = code_of(self.region)


class Trending(Message):
    trending_tags: tuple[TagCount, ...]
    window: str
