"""Questions: ask, find, close. Each verb is one transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from hub.domain import members, places, urgent
from hub.domain.context import Domain, Known, Once, do_once
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.domain_events import (
    Envelope,
    QuestionCreatedEvent,
)
from protocol.errors import Code, HubError, conflict, forbidden, invalid, not_found
from protocol.events import (
    Author,
    Place,
    QuestionCreated,
    QuestionStatus,
    emit,
)
from protocol.names import neighbourhood_room, question_room, tag_room
from protocol.payload import Message, plain
from protocol.rest import Ask, Question

EXCERPT = 140
PLACE_KEPT = timedelta(hours=24)


def excerpt(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= EXCERPT else flat[: EXCERPT - 1] + "…"


async def ask(d: Domain, asker: str, form: Ask, once: Once | None = None) -> Question:
    """Write a question; if urgent, start its first wave in the same transaction.

    Raises INVALID_PAYLOAD for an urgent one without a place, CONFLICT while the asker's other
    urgent question is open, RATE_LIMITED over the day's number.
    """
    return await do_once(d, once, Question, partial(_ask, d, asker, form, str(uuid4())))


async def _ask(d: Domain, asker: str, form: Ask, id: str, change: Change) -> Question:
    question = await create(d, change, id, asker, form)
    event = QuestionCreatedEvent(
        question_id=id,
        user_id=asker,
        hashtags=question.hashtags,
        urgency=form.urgency,
        title=form.title,
        content=form.content,
        category=form.category,
    )
    change.tell(id, outgoing(d, "question.created", event))
    return question


async def create(
    d: Domain, change: Change, id: str, asker: str, form: Ask, occurred_at: datetime | None = None
) -> Question:
    """The flow's first step, whether asked here or told by the Q&A service."""
    conn, now = change.conn, d.now()
    at = occurred_at or now
    if occurred_at is not None:
        await _check_new(conn, id, asker)
    await members.ensure(conn, asker)
    if form.urgency == "urgent":
        if form.lat is None or form.lng is None:
            raise invalid("An urgent question needs lat and lng.")
        if _deadline(d, at) > now:
            await _allow_urgent(d, conn, asker)
    row = await _insert(d, conn, id, asker, form, at)
    who = await members.author(conn, asker)
    question = view(row, who, with_place=True)
    _tell_created(change, question)
    if row["urgent_state"] == "open":
        await urgent.start(d, change, row, who)
    return question


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


async def _insert(d: Domain, conn: Connection, id: str, asker: str, form: Ask, at: datetime) -> Row:
    """An urgent question whose time is over when it arrives is an ordinary one, `expired`."""
    spot = await _spot(d, conn, asker, form)
    deadline = _deadline(d, at) if form.urgency == "urgent" else None
    state = None if deadline is None else "open" if deadline > d.now() else "expired"
    row = await conn.fetchrow(
        "INSERT INTO questions (id, user_id, title, content, category, region_code,"
        " neighbourhood_code, lat, lng, cell, hashtags, urgency, deadline_at, urgent_state,"
        " created_at, updated_at) VALUES"
        " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)"
        " ON CONFLICT (id) DO NOTHING RETURNING *",
        id,
        asker,
        form.title,
        form.content,
        form.category,
        spot.region_code,
        spot.neighbourhood_code,
        spot.lat,
        spot.lng,
        spot.cell,
        list(form.hashtags),
        form.urgency,
        deadline,
        state,
        at,
    )
    if row is None:  # told by two events at once
        await _check_new(conn, id, asker)
    assert row is not None
    return row


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
        lat, lng = places.rounded(form.lat), places.rounded(form.lng)
        region, neighbourhood = d.atlas.region_of(lat, lng), d.atlas.neighbourhood_of(lat, lng)
        return _Spot(region, neighbourhood, lat, lng, places.cell_of(lat, lng))
    home = await conn.fetchrow(
        "SELECT region_code, neighbourhood_code FROM users WHERE id = $1", asker
    )
    assert home is not None
    return _Spot(home["region_code"], home["neighbourhood_code"])


def _tell_created(change: Change, question: Question) -> None:
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
        author=question.author,
        created_at=question.created_at,
    )
    event = emit("question:created", message, id=str(uuid4()), rooms=tuple(rooms))
    change.tell(question.id, event)


def view(row: Row, who: Author, *, with_place: bool) -> Question:
    """A question for its reader; the place only for signed-in people while it is open."""
    shown = with_place and row["lat"] is not None and row["status"] == "active"
    return Question(
        id=row["id"],
        author=who,
        title=row["title"],
        content=row["content"],
        category=row["category"],
        region_code=row["region_code"],
        neighbourhood_code=row["neighbourhood_code"],
        hashtags=tuple(row["hashtags"]),
        urgency=row["urgency"],
        status=row["status"],
        answer_count=row["answer_count"],
        accepted_answer_id=row["accepted_answer_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deadline_at=row["deadline_at"],
        urgent_state=row["urgent_state"],
        location=Place(lat=row["lat"], lng=row["lng"]) if shown else None,
    )


async def find(d: Domain, question_id: str, *, signed_in: bool) -> Question:
    async with acquire(d.pool) as conn:
        row = await conn.fetchrow(
            "SELECT * FROM questions WHERE id = $1 AND status <> 'deleted'", question_id
        )
        if row is None:
            raise not_found("question")
        fresh = row["created_at"] > d.now() - PLACE_KEPT
        return view(row, await members.author(conn, row["user_id"]), with_place=signed_in and fresh)


async def close(
    d: Domain,
    change: Change,
    question_id: str,
    status: str,
    *,
    owner: str | None = None,
    at: datetime | None = None,
) -> Row:
    """Close or delete: waves end, the place is forgotten, those woken are told. `at`: when it
    happened; what was answered or accepted before then and arrives later is still taken.

    Raises NOT_FOUND, FORBIDDEN for somebody else's, CONFLICT when it is closed already.
    """
    row = await locked(change.conn, question_id)
    if owner is not None and row["user_id"] != owner:
        raise forbidden("Only its asker may do this.")
    if row["status"] != "active" and status == "closed":
        raise conflict("The question is closed already.")
    updated = await change.conn.fetchrow(
        "UPDATE questions SET status = $2, lat = NULL, lng = NULL, updated_at = $3,"
        " closed_at = least(closed_at, $4), urgent_state ="
        " CASE WHEN urgent_state IS NULL THEN NULL ELSE 'closed' END WHERE id = $1 RETURNING *",
        question_id,
        status,
        d.now(),
        at or d.now(),
    )
    assert updated is not None
    message = QuestionStatus(question_id=question_id, status=status)
    rooms = [question_room(question_id)]
    if row["neighbourhood_code"] is not None:
        rooms.append(neighbourhood_room(row["neighbourhood_code"]))
    event = emit("question:closed", message, id=str(uuid4()), rooms=tuple(rooms))
    change.tell(question_id, event)
    if row["urgent_state"] in ("open", "wave", "claimed"):
        await urgent.end(d, change, row, "closed")
    return updated


async def close_told(
    d: Domain, change: Change, question_id: str, status: str, at: datetime
) -> None:
    """`close` as another service tells it. Raises Known when it is closed, or gone for good."""
    known = await change.conn.fetchval("SELECT status FROM questions WHERE id = $1", question_id)
    if known in (status, "deleted"):
        raise Known(f"The question is {known} already.")
    await close(d, change, question_id, status, at=at)


async def close_own(
    d: Domain, caller: str, question_id: str, status: str, *, admin: bool = False
) -> Question:
    """`close` for its asker, or for an admin."""
    async with d.outbox.change() as change:
        row = await close(d, change, question_id, status, owner=None if admin else caller)
        return view(row, await members.author(change.conn, row["user_id"]), with_place=False)


async def locked(conn: Connection, question_id: str, at: datetime | None = None) -> Row:
    """The question's row, held until the end of the transaction: its verbs go one by one. Of a
    deleted one for what happened `at` a time before that. Raises NOT_FOUND.
    """
    row = await conn.fetchrow(
        "SELECT * FROM questions WHERE id = $1 AND (status <> 'deleted' OR closed_at > $2)"
        " FOR UPDATE",
        question_id,
        at,
    )
    if row is None:
        raise not_found("question")
    return row


def outgoing(d: Domain, event_type: str, payload: Message) -> Envelope:
    return Envelope(
        event_id=uuid4(),
        event_type=event_type,
        occurred_at=d.now(),
        payload=plain(payload),
        publisher="hub",
    )
