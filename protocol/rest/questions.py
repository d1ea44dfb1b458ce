"""Questions: asked, listed, closed."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from protocol.events.questions import Author, Place
from protocol.normal import code_of, hashtags_of, normal, words_of
from protocol.payload import Code, Content, Hashtags, Latitude, Longitude, Message, Request, Title
from protocol.rest.paging import CachedQuery, Pagination


class Ask(Request):
    title: Title
    content: Content
    category: Code | None = None
    hashtags: Hashtags = ()
    urgency: Literal["normal", "urgent"] = "normal"
    lat: Latitude | None = None
    lng: Longitude | None = None

    def __post_init__(self) -> None:
        self.hashtags = hashtags_of(self.hashtags)
        self.category = code_of(self.category)


class QuestionChange(Request):
    """What an owner may change of a question: its words, and that it is closed, which stays so."""

    title: Title | None = None
    content: Content | None = None
    category: Code | None = None
    hashtags: Hashtags | None = None
    status: Literal["closed"] | None = None

    def __post_init__(self) -> None:
        self.category = code_of(self.category)
        if self.hashtags is not None:
            self.hashtags = hashtags_of(self.hashtags)


class Asker(Author):
    region_code: str


class Question(Message):
    """`location` is given to signed-in people while the question is open, nowhere else."""

    id: str
    author: Asker
    title: str
    content: str
    category: str | None
    region_code: str
    neighbourhood_code: str | None
    hashtags: Hashtags
    urgency: str
    status: str
    answer_count: int
    like_count: int
    has_accepted_answer: bool
    accepted_answer_id: str | None
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime | None = None
    urgent_state: str | None = None
    location: Place | None = None


Words = Annotated[str, Meta(min_length=1, max_length=100)]
"""What is searched for."""

Page = Annotated[int, Meta(ge=1, le=500)]
"""The offset of numbered pages has an end (C58)."""


class QuestionsQuery(CachedQuery):
    """`hashtags`: comma separated, any of them. `q`: each of its words is in title or content; the
    newest 200 of those are found, as by `GET /search`.
    """

    region: Code | None = None
    category: Code | None = None
    hashtags: Annotated[str, Meta(min_length=1, max_length=520)] | None = None
    q: Words | None = None
    page: Page = 1
    sort_by: Literal["created_at", "popularity", "urgent"] = "created_at"

    def __post_init__(self) -> None:
        if self.q is not None:
            self.q = " ".join(words_of(self.q))
        self.region = code_of(self.region)
        self.category = code_of(self.category)
        if self.hashtags is not None:
            self.hashtags = ",".join(hashtags_of(normal(self.hashtags).split(","))) or None

    @property
    def tags(self) -> list[str]:
        return self.hashtags.split(",") if self.hashtags else []


class Questions(Message):
    questions: tuple[Question, ...]
    pagination: Pagination
