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


class QuestionWave(Message):
    """To the asker, once a wave's people are told: how many of all waves, and when the next one
    begins unless an answer comes."""

    question_id: str
    wave: int
    told: int
    acknowledged: int
    next_at: datetime | None


class QuestionUnanswered(Message):
    """`notified`: how many people had been told of it by name."""

    question_id: str
    deadline_at: datetime
    notified: int


class ClaimState(Message):
    """How many are answering, and until when one's own place is kept (null: there is none)."""

    claims: int
    lease_until: datetime | None


class QuestionClaimed(Message):
    """How many are answering, and until when the last of them has said so (null: nobody is)."""

    question_id: str
    claims: int
    lease_until: datetime | None


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
    ClientEvent("question:claim", QuestionRef, ClaimState),
    ClientEvent("question:release", QuestionRef, ClaimState),
)

SERVER: Final = (
    ServerEvent("question:created", QuestionCreated, "neighbourhood:{code}, tag:{hashtag}", "room"),
    ServerEvent(
        "question:urgent",
        QuestionUrgent,
        "cell:{h3} of the wave that no earlier one told; the last wave: region:{code}",
        "alert",
    ),
    ServerEvent("question:wave", QuestionWave, "user:{asker}", "alert"),
    ServerEvent("question:claimed", QuestionClaimed, "question:{id}, user:{asker}", "room"),
    ServerEvent("question:unanswered", QuestionUnanswered, "user:{asker}", "alert"),
    ServerEvent("question:retracted", QuestionRetracted, "whoever was woken", "alert"),
    ServerEvent("question:answered", QuestionAnswered, "whoever was woken, question:{id}", "alert"),
    ServerEvent("question:updated", QuestionStatus, "question:{id}, neighbourhood:{code}", "room"),
    ServerEvent("question:closed", QuestionStatus, "question:{id}, neighbourhood:{code}", "room"),
    ServerEvent("answer:created", AnswerCreated, "user:{asker}, question:{id}", "alert"),
    ServerEvent("answer:accepted", AnswerAccepted, "user:{answerer}, question:{id}", "alert"),
    ServerEvent("points:awarded", PointsAwarded, "user:{answerer}", "alert"),
)
