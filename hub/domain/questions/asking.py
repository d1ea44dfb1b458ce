"""Asking: the flow's first step, whether asked here or told by the Q&A service."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from hub.domain import shards
from hub.domain.context import Domain, Known, outgoing
from hub.domain.people import blocks, members
from hub.domain.places import geometry
from hub.domain.questions import progress
from hub.domain.questions.question import Question, excerpt
from hub.domain.rules.states import QuestionStatus, UrgentState
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, to_json
from protocol.domain_events import GeoPoint, QuestionCreatedEvent
from protocol.errors import Code, HubError, conflict, invalid
from protocol.events import emit
from protocol.events.questions import Author, Place, QuestionCreated
from protocol.names import QUESTION_LISTS, neighbourhood_room, tag_room
from protocol.payload import plain
from protocol.rest import questions as rest
from protocol.rest.questions import Ask


async def ask(
    d: Domain,
    change: Change,
    asker: str,
    form: Ask,
    *,
    id: str | None = None,
    at: datetime | None = None,
) -> rest.Question:
    """Write a question; if urgent, begin its waves in the same transaction. `id`, `at`: what
    it is called and when it was asked, as another service tells it; then no service is told again.

    Raises INVALID_PAYLOAD for an urgent one without a place, CONFLICT while the asker's other
    urgent question is open, RATE_LIMITED over the day's number, Known for one that is here.
    """
    conn, told = change.conn, id is not None
    id, at = id or str(uuid4()), at or d.now()
    if told:
        await _check_new(conn, id, asker)
    await members.ensure(d, conn, asker)
    if form.urgency == "urgent":
        if form.lat is None or form.lng is None:
            raise invalid("An urgent question needs lat and lng.")
        if _deadline(d, at) > d.now():
            await _allow_urgent(d, conn, asker)
    spot = await _spot(d, conn, asker, form)
    who = await members.asker(conn, asker)
    region = d.shards.of_region(spot.region_code)
    if region is not None:
        question = _new(d, id, asker, form, at, spot)
        await _ask_elsewhere(d, change, region, question, told=told)
        return question.shown_by(who, with_place=True)
    question = await _insert(conn, _new(d, id, asker, form, at, spot))
    shown = question.shown_by(who, with_place=True)
    change.invalidate(QUESTION_LISTS)
    _tell_rooms(change, shown, await blocks.deaf_to(conn, asker))
    if question.urgent_state is UrgentState.OPEN:
        question = await progress.set_out(d, change, question)
    if not told:
        _tell_services(d, change, question)
    return shown


def _deadline(d: Domain, at: datetime) -> datetime:
    return at + timedelta(seconds=d.policy.urgent_deadline_s)


async def _check_new(conn: Connection, id: str, asker: str) -> None:
    """Raises Known for a question that is here, CONFLICT when it is another person's."""
    owner = await conn.fetchval("SELECT user_id FROM questions WHERE id = $1", id)
    if owner is not None and owner != asker:
        raise conflict("Another person's question has this id.")
    if owner is not None:
        raise Known("This question is here already.")


async def _allow_urgent(d: Domain, conn: Connection, asker: str) -> None:
    await conn.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", asker)
    row = await conn.fetchrow(
        "SELECT count(*) FILTER (WHERE status = 'active' AND deadline_at > $2"
        "   AND first_answer_at IS NULL) AS open, count(*) AS today FROM questions"
        " WHERE user_id = $1 AND urgency = 'urgent' AND created_at > $2 - interval '1 day'",
        asker,
        d.now(),
    )
    assert row is not None
    if row["open"] >= d.policy.urgent_open_per_asker:
        raise conflict("Another urgent question of yours is open.")
    if row["today"] >= d.policy.urgent_per_asker_day:
        raise HubError(
            Code.RATE_LIMITED, "No more urgent questions today.", retry_after_ms=3_600_000
        )


def _new(d: Domain, id: str, asker: str, form: Ask, at: datetime, spot: "_Spot") -> Question:
    """An urgent question whose time is over when it arrives is an ordinary one, `expired`."""
    deadline = _deadline(d, at) if form.urgency == "urgent" else None
    state = None
    if deadline is not None:
        state = UrgentState.OPEN if deadline > d.now() else UrgentState.EXPIRED
    return Question(
        id=id,
        user_id=asker,
        title=form.title,
        content=form.content,
        category=form.category,
        region_code=spot.region_code,
        neighbourhood_code=spot.neighbourhood_code,
        lat=spot.lat,
        lng=spot.lng,
        cell=spot.cell,
        hashtags=form.hashtags,
        urgency=form.urgency,
        status=QuestionStatus.ACTIVE,
        urgent_state=state,
        deadline_at=deadline,
        answer_count=0,
        like_count=0,
        accepted_answer_id=None,
        first_answer_at=None,
        closed_at=None,
        edited_at=None,
        created_at=at,
        updated_at=at,
    )


async def _insert(conn: Connection, new: Question) -> Question:
    row = await conn.fetchrow(
        "INSERT INTO questions (id, user_id, title, content, category, region_code,"
        " neighbourhood_code, lat, lng, cell, hashtags, urgency, deadline_at, urgent_state,"
        " created_at, updated_at) VALUES"
        " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)"
        " ON CONFLICT (id) DO NOTHING RETURNING *",
        new.id,
        new.user_id,
        new.title,
        new.content,
        new.category,
        new.region_code,
        new.neighbourhood_code,
        new.lat,
        new.lng,
        new.cell,
        list(new.hashtags),
        new.urgency,
        new.deadline_at,
        new.urgent_state,
        new.created_at,
    )
    if row is None:  # told by two events at once
        await _check_new(conn, new.id, new.user_id)
    assert row is not None
    return Question.of(row)


async def _ask_elsewhere(
    d: Domain, change: Change, region: str, question: Question, *, told: bool
) -> None:
    """Hand a question over to its region's database, whose workers do the rest; as an event, which
    what was asked here becomes first. Raises Known for one that was handed over before."""
    if not await shards.keep_question(change.conn, question.id, region):
        raise Known("This question is known already.")
    event_id = change.event_id
    if event_id is None or not told:
        event_id = uuid4()
        await shards.keep_event(
            change.conn,
            event_id,
            "question.created",
            "hub",
            to_json(plain(_event(question, question.place))),
            question.created_at,
            processed_at=d.now(),
        )
    shards.hand_over(change, event_id, region)


@dataclass(frozen=True, slots=True)
class _Spot:
    region_code: str
    neighbourhood_code: str | None
    lat: float | None = None
    lng: float | None = None
    cell: int | None = None


async def _spot(d: Domain, conn: Connection, asker: str, form: Ask) -> _Spot:
    """Where a question belongs: its place, rounded before anything is written, or its asker's."""
    if form.lat is not None and form.lng is not None:
        lat, lng = geometry.rounded(form.lat), geometry.rounded(form.lng)
        region, neighbourhood = d.atlas.region_of(lat, lng), d.atlas.neighbourhood_of(lat, lng)
        return _Spot(region, neighbourhood, lat, lng, geometry.cell_of(lat, lng))
    home = await conn.fetchrow(
        "SELECT region_code, neighbourhood_code FROM users WHERE id = $1", asker
    )
    assert home is not None
    return _Spot(home["region_code"], home["neighbourhood_code"])


def _tell_rooms(change: Change, question: rest.Question, deaf: tuple[str, ...]) -> None:
    who = question.author
    rooms = [tag_room(tag) for tag in question.hashtags]
    if question.neighbourhood_code is not None:
        rooms.insert(0, neighbourhood_room(question.neighbourhood_code))
    if not rooms:
        return
    message = QuestionCreated(
        question_id=question.id,
        title=question.title,
        excerpt=excerpt(question.content),
        category=question.category,
        region_code=question.region_code,
        neighbourhood_code=question.neighbourhood_code,
        hashtags=question.hashtags,
        urgency=question.urgency,
        author=Author(
            user_id=who.user_id,
            nickname=who.nickname,
            is_local_verified=who.is_local_verified,
        ),
        created_at=question.created_at,
    )
    event = emit(
        "question:created", message, id=str(uuid4()), rooms=tuple(rooms), except_rooms=deaf
    )
    change.tell(question.id, event)


def _tell_services(d: Domain, change: Change, question: Question) -> None:
    change.tell(question.id, outgoing(d, "question.created", _event(question)))


def _event(question: Question, place: Place | None = None) -> QuestionCreatedEvent:
    return QuestionCreatedEvent(
        location=None if place is None else GeoPoint(lat=place.lat, lng=place.lng),
        question_id=question.id,
        user_id=question.user_id,
        hashtags=question.hashtags,
        urgency=question.urgency,
        title=question.title,
        content=question.content,
        category=question.category,
    )
