"""What other regions tell of our people: each is applied once, by its event's id."""

from datetime import datetime
from uuid import UUID

from hub.domain.context import Domain
from hub.domain.notifications import attention, first_look, retraction
from hub.domain.notifications.attention import Shown
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.writing import News, notify
from hub.domain.people import blocks, members
from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Reason, verdict_of
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.between_regions import AlertOver, PeopleHeard, PersonNotified, PersonShown
from protocol.errors import conflict
from protocol.events import SERVER_EVENTS, Emit
from protocol.names import user_room
from protocol.texts import render_push


async def notified(d: Domain, change: Change, event: PersonNotified, at: datetime) -> None:
    """Write it into the one inbox, under the id it has where it was caused; from here on all is as
    with any other. Raises Known for somebody erased."""
    conn, id = change.conn, change.event_id
    assert id is not None
    await members.ensure(d, conn, event.user_id)
    await members.check_living(conn, event.user_id)
    if event.by is not None and await blocks.between(conn, event.user_id, event.by):
        reason = Reason.BLOCKED
        told = Decision(event.user_id, verdict_of(reason), reason, event.question_id, id)
        await record(conn, d.now(), [told])
        return
    written = await notify(d, change, [await _news(conn, event, id)], here=True)
    if written and event.had_socket:
        await first_look.record_sockets(change, written[0].created_at, [(id, event.user_id)])


async def _news(conn: Connection, event: PersonNotified, id: UUID) -> News:
    """In the language that its person is told in, where the words are ours."""
    title, body = event.title, event.body
    if event.words is not None:
        locale = await members.locale_of(conn, event.user_id)
        title, body = render_push(event.kind, locale, event.words)
    return News(
        event.user_id,
        event.kind,
        title,
        body,
        priority=event.priority,
        data=event.data,
        question_id=event.question_id,
        answer_id=event.answer_id,
        dedup_key=event.dedup_key,
        expires_at=event.expires_at,
        announce=event.announce,
        words=event.words,
        channels=None if event.channels is None else tuple(map(Channel, event.channels)),
        id=id,
    )


async def heard(d: Domain, change: Change, event: PeopleHeard, at: datetime) -> None:
    """Tell people's sockets here, but those whom its cause is kept apart from."""
    apart = [] if event.by is None else await blocks.apart_from(change.conn, event.by)
    rooms = tuple(user_room(one) for one in event.user_ids if one not in apart)
    if rooms:
        told = Emit(
            id=event.id,
            event=event.event,
            rooms=rooms,
            data=event.data,
            klass=SERVER_EVENTS[event.event].klass,
            deadline=event.deadline,
        )
        change.tell(event.id, told)


async def over(d: Domain, change: Change, event: AlertOver, at: datetime) -> None:
    """Take alerts back; one that comes after this is known here already, and not told any more."""
    await change.conn.execute(
        "INSERT INTO inbox_events AS told (event_id, event_type, publisher, payload, occurred_at,"
        " processed_at) SELECT id, 'person.notified', 'hub', '{}', $2, $3"
        " FROM unnest($1::uuid[]) AS id ORDER BY id ON CONFLICT (event_id)"
        " DO UPDATE SET processed_at = coalesce(told.processed_at, $3)",
        list(event.notification_ids),
        at,
        d.now(),
    )
    await retraction.settle_told(d, change, event.notification_ids, Reason(event.reason))


async def shown(d: Domain, change: Change, event: PersonShown, at: datetime) -> None:
    """A screen elsewhere has shown them. Raises CONFLICT for one that is not here yet: it is on its
    way, and this is tried again."""
    missing = await change.conn.fetchval(
        "SELECT EXISTS (SELECT FROM unnest($2::uuid[]) AS t (id) WHERE NOT EXISTS (SELECT FROM"
        " notifications n WHERE n.user_id = $1 AND n.id = t.id) AND NOT EXISTS (SELECT FROM"
        " inbox_events e WHERE e.event_id = t.id AND e.processed_at IS NOT NULL))",
        event.user_id,
        list(event.notification_ids),
    )
    if missing:
        raise conflict("Not all of these are here yet.")
    ids = [str(id) for id in event.notification_ids]
    await attention.acknowledge(d, change, [Shown(event.user_id, ids, ())])
