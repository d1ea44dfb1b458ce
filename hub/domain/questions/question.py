"""A question as its row stands, and as its readers are shown it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.places import geometry
from hub.domain.rules.states import QuestionStatus, UrgentState
from hub.plumbing.stores.cache import Family
from hub.plumbing.stores.postgres import Connection, Row
from protocol.errors import not_found
from protocol.events.questions import Place
from protocol.names import mute_room, neighbourhood_room, question_room, user_room
from protocol.rest import questions as rest

EXCERPT: Final = 140
PLACE_KEPT: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Question:
    """`lat` and `lng` are forgotten when it is closed, the cell stays. An ordinary question has
    neither a deadline nor an urgent state.
    """

    id: str
    user_id: str
    title: str
    content: str
    category: str | None
    region_code: str
    neighbourhood_code: str | None
    lat: float | None
    lng: float | None
    cell: int | None
    hashtags: tuple[str, ...]
    urgency: Literal["normal", "urgent"]
    status: QuestionStatus
    urgent_state: UrgentState | None
    deadline_at: datetime | None
    answer_count: int
    like_count: int
    accepted_answer_id: str | None
    first_answer_at: datetime | None
    closed_at: datetime | None
    edited_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Question":
        state = row["urgent_state"]
        return cls(
            id=row["id"],
            user_id=row["user_id"],
            title=row["title"],
            content=row["content"],
            category=row["category"],
            region_code=row["region_code"],
            neighbourhood_code=row["neighbourhood_code"],
            lat=row["lat"],
            lng=row["lng"],
            cell=row["cell"],
            hashtags=tuple(row["hashtags"]),
            urgency=row["urgency"],
            status=QuestionStatus(row["status"]),
            urgent_state=None if state is None else UrgentState(state),
            deadline_at=row["deadline_at"],
            answer_count=row["answer_count"],
            like_count=row["like_count"],
            accepted_answer_id=row["accepted_answer_id"],
            first_answer_at=row["first_answer_at"],
            closed_at=row["closed_at"],
            edited_at=row["edited_at"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    @property
    def urgent(self) -> bool:
        return self.urgency == "urgent"

    @property
    def active(self) -> bool:
        return self.status is QuestionStatus.ACTIVE

    @property
    def place(self) -> Place | None:
        if self.lat is None or self.lng is None:
            return None
        return Place(lat=self.lat, lng=self.lng)

    def late(self, now: datetime) -> bool:
        """Whether an urgent question's time is over: nothing of it leaves any more."""
        return self.deadline_at is not None and self.deadline_at <= now

    def awaits_answer(self, now: datetime) -> bool:
        """Whether its waves may still wake somebody."""
        return (
            self.active
            and self.first_answer_at is None
            and self.place is not None
            and not self.late(now)
        )

    def cells(self, radius_m: float) -> tuple[int, ...]:
        """The cells that touch a circle around it; none once its place is forgotten."""
        if self.lat is None or self.lng is None or not radius_m:
            return ()
        return geometry.cells_touching(self.lat, self.lng, radius_m)

    def rooms_within(self, radius_m: float) -> tuple[str, ...]:
        """The rooms of those cells."""
        return tuple(geometry.room_of_cell(cell) for cell in self.cells(radius_m))

    def unwoken(self) -> tuple[str, ...]:
        """Rooms that hear none of its waves: its asker's, and who muted its neighbourhood."""
        rooms = [user_room(self.user_id)]
        if self.neighbourhood_code is not None:
            rooms.append(mute_room(self.neighbourhood_code))
        return tuple(rooms)

    def shown_by(self, who: rest.Asker, *, with_place: bool = False) -> rest.Question:
        """As its asker's, for a reader; the place only for signed-in people while it is open."""
        return rest.Question(
            id=self.id,
            author=who,
            title=self.title,
            content=self.content,
            category=self.category,
            region_code=self.region_code,
            neighbourhood_code=self.neighbourhood_code,
            hashtags=self.hashtags,
            urgency=self.urgency,
            status=self.status.value,
            answer_count=self.answer_count,
            like_count=self.like_count,
            has_accepted_answer=self.accepted_answer_id is not None,
            accepted_answer_id=self.accepted_answer_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            deadline_at=self.deadline_at,
            urgent_state=self.urgent_state.value if self.urgent_state else None,
            location=self.place if with_place and self.active else None,
        )


def rooms_of(question: Question) -> tuple[str, ...]:
    """Who hears what becomes of it: its own room, and its neighbourhood's."""
    rooms = [question_room(question.id)]
    if question.neighbourhood_code is not None:
        rooms.append(neighbourhood_room(question.neighbourhood_code))
    return tuple(rooms)


def excerpt(text: str) -> str:
    """The beginning of a text on one line, with a sign that it goes on."""
    flat = " ".join(text.split())
    return flat if len(flat) <= EXCERPT else flat[: EXCERPT - 1] + "…"


CACHED: Final = Family("question", 1800)
"""C31: invalidated by each answer, acceptance, like and change."""


async def find(d: Domain, question_id: str, *, signed_in: bool) -> rest.Question:
    """Raises NOT_FOUND."""

    async def load(may_lag: bool) -> Question:
        row = await d.reads.run(
            lambda conn: conn.fetchrow(
                "SELECT * FROM questions WHERE id = $1 AND status <> 'deleted'", question_id
            ),
            may_lag=may_lag,
        )
        if row is None:
            raise not_found("question")
        return Question.of(row)

    question = await d.cache.read(CACHED, question_id, Question, load)
    fresh = question.created_at > d.now() - PLACE_KEPT
    who = await members.known(d, question.user_id)
    return question.shown_by(who, with_place=signed_in and fresh)


async def shown(conn: Connection, question: Question, *, with_place: bool = False) -> rest.Question:
    """With its asker. Raises NOT_FOUND for one whose asker is gone."""
    who = await members.asker(conn, question.user_id)
    return question.shown_by(who, with_place=with_place)


async def locked(conn: Connection, question_id: str, at: datetime | None = None) -> Question:
    """The question, held until the end of the transaction: its verbs go one by one. Of a deleted
    one for what happened `at` a time before that. Raises NOT_FOUND.
    """
    row = await conn.fetchrow(
        "SELECT * FROM questions WHERE id = $1 AND (status <> 'deleted' OR closed_at > $2)"
        " FOR UPDATE",
        question_id,
        at,
    )
    if row is None:
        raise not_found("question")
    return Question.of(row)
