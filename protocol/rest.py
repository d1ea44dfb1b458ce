"""Bodies of the REST API, both ways."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from protocol.domain_events import Envelope
from protocol.events import Author, InboxItem, Place
from protocol.normal import code_of, hashtags_of, normal
from protocol.payload import (
    Code,
    Content,
    Hashtags,
    Id,
    Ids,
    Latitude,
    Longitude,
    Message,
    Moment,
    Request,
    Title,
)
from protocol.web_push import read_subscription


class SessionRequest(Request):
    user_id: Id
    role: Literal["user", "admin"] = "user"
    ttl: Annotated[int, Meta(ge=1)] | None = None


class Session(Message):
    access_token: str
    refresh_token: str
    expires_in: int


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
    """What an owner may change of a question: it is closed, and stays so."""

    status: Literal["closed"]


class Question(Message):
    """`location` is given to signed-in people while the question is open, nowhere else."""

    id: str
    author: Author
    title: str
    content: str
    category: str | None
    region_code: str
    neighbourhood_code: str | None
    hashtags: Hashtags
    urgency: str
    status: str
    answer_count: int
    accepted_answer_id: str | None
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime | None = None
    urgent_state: str | None = None
    location: Place | None = None


class QuestionsQuery(Request):
    """`hashtags`: comma separated, any of them. 20 a page; the offset has an end (C58)."""

    region: Code | None = None
    category: Code | None = None
    hashtags: Annotated[str, Meta(min_length=1, max_length=520)] | None = None
    page: Annotated[int, Meta(ge=1, le=500)] = 1
    sort_by: Literal["created_at", "urgent"] = "created_at"

    def __post_init__(self) -> None:
        self.region = code_of(self.region)
        self.category = code_of(self.category)
        if self.hashtags is not None:
            self.hashtags = ",".join(hashtags_of(normal(self.hashtags).split(","))) or None

    @property
    def tags(self) -> list[str]:
        return self.hashtags.split(",") if self.hashtags else []


class Pagination(msgspec.Struct, kw_only=True):
    """The source's own names (S2-122)."""

    current_page: int
    per_page: int
    total: int
    total_pages: int


class Questions(Message):
    items: tuple[Question, ...]
    pagination: Pagination


class PageQuery(Request):
    """`after` is the `next` of the page before."""

    after: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class AnswerRequest(Request):
    question_id: Id
    content: Content


class Answer(Message):
    id: str
    question_id: str
    author: Author
    content: str
    is_accepted: bool
    created_at: datetime
    accepted_at: datetime | None = None
    points: int | None = None


class Answers(Message):
    items: tuple[Answer, ...]
    next: str | None


class InboxQuery(PageQuery):
    unread: bool = False
    kind: Code | None = None

    def __post_init__(self) -> None:
        self.kind = code_of(self.kind)


class InboxList(Message):
    items: tuple[InboxItem, ...]
    unread: int
    next: str | None


class UnreadCount(Message):
    """Of many kinds the most frequent stand under their names, the rest under `other`."""

    count: int
    by_kind: dict[str, int]


class Acks(Request):
    ids: Ids = ()
    question_ids: Ids = ()
    state: Literal["acknowledged", "seen", "read"] = "acknowledged"


class ReadAll(Request):
    """All that was made until `before`; without it, until now."""

    before: Moment | None = None


class UnreadNow(Message):
    unread: int


class Notify(Request):
    kind: Code
    title: Title
    body: Annotated[str, Meta(min_length=1, max_length=2000)]
    user_id: Id | None = None
    user_ids: Annotated[tuple[Id, ...], Meta(max_length=1000)] = ()
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    priority: Literal["high", "medium", "low"] = "medium"
    dedup_key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    expires_at: Moment | None = None

    def __post_init__(self) -> None:
        self.kind = code_of(self.kind)


class Accepted(Message):
    ids: tuple[str, ...]


class DeviceRequest(Request):
    """A token is printable ASCII, as every provider's is, and no longer than its index takes
    (2,704 bytes a row of PostgreSQL's B-tree). Of a browser it is the subscription as JSON, as
    `JSON.stringify(subscription)` makes it, and it is kept in one normal form.
    """

    platform: Literal["ios", "android", "web"]
    token: Annotated[str, Meta(pattern=r"^[ -~]+$(?!\n)", min_length=1, max_length=2048)]
    environment: Literal["production", "sandbox"] = "production"
    app_version: Annotated[str, Meta(max_length=50)] | None = None
    locale: Annotated[str, Meta(max_length=35)] | None = None

    def __post_init__(self) -> None:
        if self.platform == "web":
            self.token = read_subscription(self.token).text()


class Device(Message):
    """The token is never given back."""

    id: str
    platform: str
    environment: str
    app_version: str | None
    locale: str | None
    created_at: datetime
    disabled_reason: str | None = None


class Devices(Message):
    items: tuple[Device, ...]


class WebKey(Message):
    """`publicKey` is what a browser subscribes with: its `applicationServerKey`; null where nothing
    is sent to browsers.
    """

    public_key: str | None


class Position(Request):
    lat: Latitude
    lng: Longitude
    accuracy_m: Annotated[float, Meta(ge=0, le=1e7)] | None = None


class PositionState(Message):
    region_code: str
    neighbourhood_code: str | None


class BroadcastRequest(Request):
    event: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*(:[a-z0-9-]+)*$", max_length=100)]
    data: dict[str, Any]


class Broadcast(Message):
    broadcast_id: str


class EventsAccepted(Message):
    accepted: int
    duplicates: int


class Region(Message):
    code: str
    name: str


class NeighbourhoodsQuery(Request):
    region: Code | None = None

    def __post_init__(self) -> None:
        self.region = code_of(self.region)


class Neighbourhood(Message):
    code: str
    region_code: str
    name: str
    lat: float
    lng: float
    radius_m: int


class Neighbourhoods(Message):
    items: tuple[Neighbourhood, ...]


class Regions(Message):
    items: tuple[Region, ...]


class ErrorBody(Message, omit_defaults=True):
    code: str
    message: str
    request_id: str
    details: dict[str, Any] | None = None
    retry_after_ms: int | None = None


class Failure(Message):
    """What every error looks like."""

    error: ErrorBody


Events = Envelope | Annotated[tuple[Envelope, ...], Meta(min_length=1, max_length=100)]
