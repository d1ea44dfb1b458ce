"""user.deleted: nothing in the database tells afterwards who somebody was, or what they wrote."""

from typing import Any
from uuid import uuid4

import pytest

from hub.domain import arrival, chat, intake, reports, rooms
from hub.domain.context import Domain
from hub.domain.erasure import WHOLLY_THEIRS
from hub.domain.notifications import case, notices, suppressions
from hub.domain.people import blocks, logins, members, sessions
from hub.domain.questions import waves
from protocol.domain_events import Envelope
from protocol.errors import Code, HubError
from protocol.events.chat import ChatSend
from protocol.rest.devices import DeviceRequest
from protocol.rest.notifications import Notify
from protocol.rest.questions import Ask
from protocol.rest.reports import ReportRequest
from protocol.rest.rooms import BroadcastRequest
from protocol.rest.sessions import Session, SessionRequest
from tests import verbs
from tests.hub.domain.test_flow import PHARMACY, SERVICE, local

ID, NAME, EMAIL = "erin-7f3a", "에린 Erin", "erin@private.example"
WRITTEN = ("marker-title", "marker-content", "marker-answer", "marker-chat", "marker-report")
HELD = ("marker-token-of-a-phone", "marker-data", "marker-agent", "marker-client-id", "marker-tag")

KEYS = {
    "answers.user_id",
    "decisions.user_id",
    "deliveries.user_id",
    "inbox_heads.user_id",
    "notification_preferences.user_id",  # the default ones
    "notifications.user_id",
    "point_transactions.user_id",
    "questions.user_id",
    "reports.subject_id",
    "reports.user_id",
    "room_messages.user_id",
    "user_facts.user_id",
    "users.id",
    "outbox.key",  # of what tells the nodes to cut the sockets
    "outbox.payload",
}
"""Where the bare id may stand: nobody can look it up any more."""


async def hear(d: Domain, kind: str, **payload: Any) -> int:
    event = Envelope(event_id=uuid4(), event_type=kind, occurred_at=d.now(), payload=payload)
    return (await intake.accept(d, SERVICE, [event])).accepted


async def log_in(d: Domain) -> Session:
    async with d.outbox.change() as change:
        form = SessionRequest(user_id=ID)
        return await logins.open_session(d, change, SERVICE, form, user_agent=None, ip=None)


async def columns(d: Domain) -> list[tuple[str, str]]:
    """Every column that holds text, bytes, JSON or lists of them; of partitions only the whole."""
    rows = await d.pool.fetch(
        "SELECT c.relname AS table, a.attname AS column FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('text'::regtype,"
        " 'jsonb'::regtype, 'json'::regtype, 'varchar'::regtype, 'bytea'::regtype,"
        " 'text[]'::regtype) ORDER BY 1, 2"
    )
    return [(row["table"], row["column"]) for row in rows]


async def where(d: Domain, *words: str) -> set[str]:
    """Columns in which any of these words stands."""
    found = set()
    for table, column in await columns(d):
        text = f'"{column}"'
        kind = await d.pool.fetchval(
            "SELECT atttypid = 'bytea'::regtype FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attname = $2",
            table,
            column,
        )
        text = f"encode({text}, 'escape')" if kind else f"{text}::text"
        for word in words:
            escaped = await d.pool.fetchval("SELECT encode($1, 'escape')", word.encode())
            sql = f"SELECT EXISTS (SELECT FROM {table} WHERE strpos({text}, $1) > 0)"
            if await d.pool.fetchval(sql, escaped if kind else word):
                found.add(f"{table}.{column}")
    return found


async def live(d: Domain) -> None:
    """A person who did everything that leaves a trace."""
    registered = {"userId": ID, "email": EMAIL}
    await hear(d, "user.registered", **registered)
    await hear(d, "user.updated", **registered, nickname=NAME, isLocalVerified=True)
    await hear(d, "user.updated", userId=ID, locationConsentAt=d.now().isoformat())
    await verbs.locate(d, ID, 33.4895, 126.4935)
    await verbs.add_device(d, ID, DeviceRequest(platform="android", token=HELD[0]))
    await local(d, "bora")
    async with d.outbox.change() as change:
        for pair in (("chan", ID), (ID, "chan")):
            await members.ensure(d, change.conn, "chan")
            await blocks.block(d, change, *pair)
    mine = Ask(
        title=WRITTEN[0],
        content=WRITTEN[1],
        urgency="urgent",
        lat=PHARMACY.lat,
        lng=PHARMACY.lng,
        hashtags=(f"#{HELD[4]}",),
    )
    asked = await verbs.ask(d, ID, mine)
    assert await waves.tell_audience(d, asked.id, 1) == 1
    await verbs.answer(d, "bora", asked.id, "길 건너편")
    other = await verbs.ask(d, "bora", Ask(title="t", content="c"))
    given = await verbs.answer(d, ID, other.id, WRITTEN[2])
    await verbs.accept(d, "bora", given.id)
    await talk(d, other.id)


async def talk(d: Domain, question_id: str) -> None:
    """In rooms, to admins, and what services said of them."""
    for user in (ID, "bora"):
        await chat.enter(d, user, "chat:lobby")
    async with d.outbox.change() as change:
        form = ChatSend(room_id="lobby", content=WRITTEN[3], client_message_id=HELD[3])
        await chat.send(d, change, ID, form)
        await reports.report(
            d, change, ID, ReportRequest(kind="question", id=question_id, reason=WRITTEN[4])
        )
        await reports.report(
            d, change, "bora", ReportRequest(kind="user", id=ID, reason=f"{NAME} is rude")
        )
        about = BroadcastRequest(event="winner", data={"userId": ID, "nickname": NAME})
        await rooms.broadcast(d, change, SERVICE, "chat:lobby", about)
        await logins.open_session(
            d, change, SERVICE, SessionRequest(user_id=ID), user_agent=HELD[2], ip="10.0.0.1"
        )
        for user, body in ((ID, HELD[1]), ("bora", f"{NAME} won")):
            note = Notify(user_id=user, kind="prize", title="prize", body=body, data={"winner": ID})
            await notices.tell(d, change, SERVICE, note)
    await d.pool.execute(
        "INSERT INTO suppressions (address, reason) VALUES ($1, 'complaint')", EMAIL
    )
    await d.pool.execute(
        "INSERT INTO idempotency_keys (subject, route, key, body_hash, status, response)"
        " VALUES ($1, 'POST /questions', 'k', '', 201, $2)",
        f"user:{ID}",
        f'{{"author": "{NAME}"}}',
    )


async def test_nothing_tells_who_it_was(domain: Domain) -> None:
    d = domain
    await live(d)
    words = (NAME, EMAIL, *WRITTEN, *HELD)
    for word in words:
        assert await where(d, word), f"{word} was nowhere: the test looks in the wrong places"
    assert await hear(d, "user.deleted", userId=ID) == 1
    assert await where(d, *words) == set()
    assert await where(d, ID) <= KEYS
    texts = await d.pool.fetch(
        "SELECT title, content, status, lat, cell FROM questions WHERE user_id = $1", ID
    )
    assert [tuple(row) for row in texts] == [("(deleted)", "(deleted)", "closed", None, None)]
    recent = await chat.enter(d, "bora", "chat:lobby")
    assert [(one.nickname, one.content) for one in recent] == [("(deleted)", "(deleted)")]
    points = "SELECT count(*) FROM point_transactions WHERE user_id = $1"
    assert await d.pool.fetchval(points, ID) == 1, "sums stay"


async def test_every_table_of_people_is_thought_of(domain: Domain) -> None:
    """A new one goes wholly, or stays with the bare id and is emptied; the choice is made here."""
    rows = await domain.pool.fetch(
        "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " WHERE a.attname = 'user_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND c.relnamespace = 'public'::regnamespace"
    )
    kept = {name.partition(".")[0] for name in KEYS}
    assert {row["relname"] for row in rows} <= {*WHOLLY_THEIRS, *kept, "blocks"}


async def test_what_others_wrote_stays(domain: Domain) -> None:
    d = domain
    await live(d)
    before = await where(d, "길 건너편", "bora@example.org")
    await hear(d, "user.deleted", userId=ID)
    kept = {"answers.content", "users.email"}
    assert kept <= await where(d, "길 건너편", "bora@example.org") <= before


async def test_whoever_is_erased_stays_so(domain: Domain) -> None:
    """Events come late and twice; the user service may go on talking; a login is refused."""
    d = domain
    await live(d)
    assert await hear(d, "user.deleted", userId=ID) == 1
    assert await hear(d, "user.deleted", userId=ID) == 0
    assert await hear(d, "user.updated", userId=ID, nickname=NAME, email=EMAIL) == 0
    assert await hear(d, "user.registered", userId=ID, email=EMAIL) == 0
    row = await d.pool.fetchrow("SELECT nickname, email FROM users WHERE id = $1", ID)
    assert row is not None
    assert tuple(row) == ("(deleted)", None)
    with pytest.raises(HubError) as refused:
        await log_in(d)
    assert refused.value.code == Code.CONFLICT
    with pytest.raises(HubError, match="FORBIDDEN"):
        await arrival.arrive(d, [ID])


async def test_who_was_never_here_is_erased_too(domain: Domain) -> None:
    d = domain
    assert await hear(d, "user.deleted", userId="ghost") == 1
    assert await hear(d, "user.registered", userId="ghost", email=EMAIL) == 0
    assert await where(d, EMAIL) == {"inbox_events.payload"}, "until retention empties it"


async def test_a_suppressed_address_is_known_by_its_hash(domain: Domain) -> None:
    """Whoever signs up again with it is not written to."""
    d = domain
    await live(d)
    await hear(d, "user.deleted", userId=ID)
    assert await where(d, EMAIL) == set()
    await hear(d, "user.registered", userId="again", email=EMAIL)
    assert await _suppressed(d, "again") == [True]
    async with d.outbox.change() as change:
        await suppressions.suppress(change.conn, EMAIL, "bounce", d.now())
    assert await hear(d, "user.deleted", userId="again") == 1
    assert await d.pool.fetchval("SELECT array_agg(reason) FROM suppressions") == ["complaint"]
    assert await where(d, EMAIL) == set()
    assert await d.pool.fetchval("SELECT count(*) FROM inbox_events WHERE error IS NOT NULL") == 0


async def _suppressed(d: Domain, user_id: str) -> list[bool]:
    rows = await d.pool.fetch(
        "SELECT id, created_at FROM notifications WHERE user_id = $1", user_id
    )
    found: list[bool] = []
    async with d.pool.acquire() as conn:
        for row in rows:
            wanted = [(row["id"], row["created_at"])]
            (one,) = (await case.load(conn, wanted, d.now(), wait=True)).values()
            (facts,) = await case.facts_of(d, conn, [one])
            found += [reach.suppressed for reach in facts.reach.values() if reach.suppressed]
    return found


async def test_old_tokens_are_worth_nothing(domain: Domain) -> None:
    d = domain
    await live(d)
    pair = await log_in(d)
    await sessions.verify(d, pair.access_token)
    await hear(d, "user.deleted", userId=ID)
    with pytest.raises(HubError, match="TOKEN_REVOKED"):
        await sessions.verify(d, pair.access_token)


async def test_the_rows_of_a_person_are_found_by_an_index(domain: Domain) -> None:
    """All of them: an index of those that are in force alone helps no erasure."""
    tables = {*WHOLLY_THEIRS, "answers", "questions", "room_messages", "decisions", "deliveries"}
    found = await domain.pool.fetch(
        "SELECT DISTINCT i.indrelid::regclass::text AS name FROM pg_index i JOIN pg_attribute a"
        " ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE a.attname = 'user_id' AND i.indpred IS NULL"
    )
    assert tables - {row["name"] for row in found} == set()
