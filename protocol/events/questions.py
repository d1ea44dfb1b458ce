"""Questions, answers, and the points they bring."""

from datetime import datetime
from typing import Final, Literal

from protocol.events.row import ClientEvent, Ok, ServerEvent
from protocol.payload import Hashtags, Id, Message, Request


class Author(Message):
    user_id: str
    nickname: str
    is_local_verified: bool


class Place(Message):
    """Rounded to 3 decimals: what the asker chose to publish."""

    lat: float
    lng: float


class QuestionRef(Request):
    question_id: Id


class QuestionState(Message):
    room: str
    answers: int | None


class UrgentCard(Message):
    question_id: str
    title: str
    neighbourhood_code: str | None
    created_at: datetime
    deadline_at: datetime | None


class QuestionCreated(Message):
    question_id: str
    title: str
    excerpt: str
    category: str | None
    region_code: str
    neighbourhood_code: str | None
    hashtags: Hashtags
    urgency: str
    author: Author
    created_at: datetime


class QuestionUrgent(Message):
    question_id: str
    title: str
    excerpt: str
    hashtags: Hashtags
    location: Place
    cell: str
    radius_m: int | None
    region_code: str
    neighbourhood_code: str | None
    author: Author
    wave: int
    created_at: datetime
    deadline_at: datetime


class QuestionRetracted(Message):
    question_id: str
    reason: Literal["answered", "closed", "expired"]


class QuestionAnswered(Message):
    question_id: str
    answer_count: int
    first_answer_at: datetime


class QuestionStatus(Message):
    question_id: str
    status: str


class AnswerCreated(Message):
    notification_id: str | None
    answer_id: str
    question_id: str
    excerpt: str
    answerer: Author
    created_at: datetime
    elapsed_s: float


class AnswerAccepted(Message):
    notification_id: str | None
    answer_id: str
    question_id: str
    answerer_id: str
    questioner_id: str
    points: int


class PointsAwarded(Message):
    user_id: str
    points: int
    balance: int
    reason: str
    answer_id: str | None
    question_id: str | None


CLIENT: Final = (
    ClientEvent("question:join", QuestionRef, QuestionState),
    ClientEvent("question:leave", QuestionRef, Ok),
)

SERVER: Final = (
    ServerEvent("question:created", QuestionCreated, "neighbourhood:{code}, tag:{hashtag}", "room"),
    ServerEvent("question:urgent", QuestionUrgent, "cell:{h3} of the wave", "alert"),
    ServerEvent("question:retracted", QuestionRetracted, "whoever was woken", "alert"),
    ServerEvent("question:answered", QuestionAnswered, "whoever was woken, question:{id}", "alert"),
    ServerEvent("question:closed", QuestionStatus, "question:{id}, neighbourhood:{code}", "room"),
    ServerEvent("answer:created", AnswerCreated, "user:{asker}, question:{id}", "alert"),
    ServerEvent("answer:accepted", AnswerAccepted, "user:{answerer}, question:{id}", "alert"),
    ServerEvent("points:awarded", PointsAwarded, "user:{answerer}", "alert"),
)
