"""Rooms: who may be in one, and what services broadcast to them."""

from collections.abc import Collection, Sequence
from uuid import uuid4

from hub.domain import chat
from hub.domain.context import Domain
from hub.domain.people.sessions import Service
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import acquire, to_json
from protocol.errors import Code, HubError, forbidden, invalid, not_found
from protocol.events import SERVER_EVENTS, Emit, Move, emit
from protocol.events.rooms import RoomBroadcast
from protocol.events.streaming import LiveProduct
from protocol.names import (
    CHAT,
    HIDDEN_ROOMS,
    MAIN,
    NAME_RULE,
    NAMESPACES,
    ROOM_NAMESPACE,
    STREAMING,
    Keys,
    is_name,
    question_room,
    room_kind,
    user_room,
)
from protocol.rest.rooms import Broadcast, BroadcastRequest, RoomPresence
from protocol.stock import RESERVED_EVENTS

ROOM_KINDS = ("user:", "region:", "neighbourhood:", "tag:", "question:", "stream:", "chat:")
ASKABLE = ("neighbourhood:", "question:", "stream:", "chat:")
"""Kinds of rooms that clients join by themselves."""

MOST_NEIGHBOURHOODS = 5

BY_FIVES = ("region:", "neighbourhood:")
"""Kinds of rooms whose people are counted in steps of 5, 0 under 5."""

MOST_LISTED = 1000
"""People named in one answer; the count is of all."""

HOUSES = {"chat:": (CHAT,), "stream:": (MAIN, STREAMING)}
"""Namespaces where rooms of a kind are; every other room is in / alone."""


def check_room(room: str) -> None:
    """Raises INVALID_PAYLOAD, or FORBIDDEN for rooms that only the server fills."""
    if not is_name(room):
        raise invalid(f"A room's name has {NAME_RULE}.")
    kind = room_kind(room)
    if kind in HIDDEN_ROOMS:
        raise forbidden("This room belongs to the server.")
    if kind not in ROOM_KINDS:
        raise invalid("A room's name begins with its kind: " + ", ".join(ROOM_KINDS))


async def may_join_neighbourhood(d: Domain, code: str, joined: int) -> None:
    """Raises NOT_FOUND for an unknown code, ROOM_LIMIT over five."""
    if not d.atlas.is_neighbourhood(code):
        raise not_found("neighbourhood")
    if joined >= MOST_NEIGHBOURHOODS:
        raise HubError(Code.ROOM_LIMIT, "Five neighbourhoods at most.")


async def answers_of(d: Domain, question_id: str) -> int:
    """Number of answers of a question one may join; raises NOT_FOUND."""
    async with acquire(d.pool) as conn:
        count = await conn.fetchval(
            "SELECT answer_count FROM questions WHERE id = $1 AND status <> 'deleted'", question_id
        )
    if count is None:
        raise not_found("question")
    return int(count)


async def broadcast(
    d: Domain, change: Change, caller: Service, room: str, form: BroadcastRequest
) -> Broadcast:
    """Publish an event of a service to a room.

    Events of the stream allow-list keep their name and go to stream rooms only; any other name is
    told as `room:broadcast`. Raises FORBIDDEN outside the key's room_prefixes or for a name of
    ours, INVALID_PAYLOAD.
    """
    _check_service(caller, room)
    id = uuid4()
    change.tell(room, *_events(d, str(id), caller.id, room, form))
    await change.conn.execute(
        "INSERT INTO broadcasts (id, publisher, room, event, payload) VALUES ($1, $2, $3, $4, $5)",
        id,
        caller.id,
        room,
        form.event,
        to_json(form.data),
    )
    return Broadcast(broadcast_id=str(id))


def _check_service(caller: Service, room: str) -> None:
    caller.need("broadcast:write")
    check_room(room)
    if not any(room.startswith(prefix) for prefix in caller.room_prefixes):
        raise forbidden("This room is outside the key's prefixes.")


async def remove(d: Domain, change: Change, caller: Service, room: str, user_id: str) -> None:
    """Out of the room go all sockets of a person on all nodes, and those that are away and would
    come back to it; no ban. Raises FORBIDDEN outside the key's room_prefixes and for a person's own
    room, INVALID_PAYLOAD.
    """
    _check_service(caller, room)
    kind = room_kind(room)
    if kind == "user:":
        raise forbidden("Nobody is put out of a person's own room.")
    if kind == "chat:":
        await chat.forget_member(d, change.conn, user_id, room)
    home = user_room(user_id)
    for namespace in HOUSES.get(kind, (MAIN,)):
        change.tell(room, Move(room=home, leave=(room,), namespace=namespace, keep_asked=False))


def place(keys: Keys, room: str) -> str:
    """The key of a room's leases (hub.cluster.presence)."""
    if room_kind(room) == "stream:":
        return keys.viewers(room.removeprefix("stream:"))
    return keys.room_online(room)


def told(room: str, count: int) -> int:
    """A count as it may leave the hub: a small number would say where somebody is."""
    return count - count % 5 if room_kind(room) in BY_FIVES else count


async def presence(d: Domain, room: str) -> RoomPresence:
    """Who is in a room, over all nodes; of neighbourhoods and regions only how many.

    Raises FORBIDDEN for rooms of the server, INVALID_PAYLOAD.
    """
    check_room(room)
    if room_kind(room) == "user:":  # everybody is in their own room while they are here
        users = sorted(await d.presence.online([room.removeprefix("user:")]))
        return RoomPresence(count=len(users), users=tuple(users))
    where = place(d.keys, room)
    count = told(room, await d.presence.count(where))
    if room_kind(room) in BY_FIVES:
        return RoomPresence(count=count)
    return RoomPresence(count=count, users=tuple(await d.presence.people(where, MOST_LISTED)))


def _events(d: Domain, id: str, publisher: str, room: str, form: BroadcastRequest) -> list[Emit]:
    if form.event.startswith("live:product:") and form.event in SERVER_EVENTS:
        if room_kind(room) != "stream:":
            raise forbidden("This event goes to stream rooms only.")
        product = LiveProduct(
            stream_key=room.removeprefix("stream:"), published_at=d.now(), data=form.data
        )
        return [emit(form.event, product, id=id, rooms=(room,))]
    if form.event in RESERVED_EVENTS:
        raise invalid("Clients keep this name for themselves.")
    if form.event in SERVER_EVENTS and form.event != "room:broadcast":
        raise forbidden("This name is the hub's own.")
    message = RoomBroadcast(
        room=room, event=form.event, publisher=publisher, published_at=d.now(), data=form.data
    )
    return [
        emit("room:broadcast", message, id=id, rooms=(room,), namespace=namespace)
        for namespace in _namespaces(room)
    ]


def _namespaces(room: str) -> tuple[str, ...]:
    """A person's room stands in every namespace; the publishing script drops an id it has seen,
    so it goes to the one where everybody's clients listen."""
    return (ROOM_NAMESPACE.get(room_kind(room), NAMESPACES[0]),)


async def still_open(
    d: Domain, sessions: Sequence[tuple[str, Sequence[str]]]
) -> list[tuple[str, ...]]:
    """Of the rooms of each of these sessions (its person, their names) those that the person may
    join now (product.md, rooms), and those of no kind of ours: another server put it there.
    """
    asked = {name for _, names in sessions for name in names if room_kind(name) == "question:"}
    chats = {(who, name) for who, names in sessions for name in names if room_kind(name) == "chat:"}
    questions, banned = await _open_questions(d, asked), await _banned(d, chats)

    def is_open(user_id: str, name: str) -> bool:
        match room_kind(name):
            case "question:":
                return name in questions
            case "chat:":
                return (user_id, name) not in banned
            case "neighbourhood:":
                return d.atlas.is_neighbourhood(name.removeprefix("neighbourhood:"))
            case kind:
                return kind == "stream:" or kind not in (*ROOM_KINDS, *HIDDEN_ROOMS)

    return [tuple(name for name in names if is_open(who, name)) for who, names in sessions]


async def _open_questions(d: Domain, rooms: Collection[str]) -> set[str]:
    if not rooms:
        return set()
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT id FROM questions WHERE id = ANY($1::text[]) AND status <> 'deleted'",
            [room.removeprefix("question:") for room in rooms],
        )
    return {question_room(row["id"]) for row in rows}


async def _banned(d: Domain, seats: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these people and rooms of whom the one is banned from the other."""
    if not seats:
        return set()
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT m.user_id, m.room FROM unnest($1::text[], $2::text[]) AS s (user_id, room)"
            " JOIN room_memberships m USING (user_id, room) WHERE m.banned_until > $3",
            *zip(*seats, strict=True),
            d.now(),
        )
    return {(row["user_id"], row["room"]) for row in rows}
