"""Written first, told after: whatever fails, nothing is lost and a key keeps its order."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hub.domain.context import Domain
from hub.plumbing.life.clock import VirtualClock
from hub.plumbing.stores.outbox import Change, Outbox, run_sweeper
from hub.plumbing.stores.outbox_rows import Told
from protocol.domain_events import Envelope
from protocol.errors import HubError, conflict
from protocol.events import Emit
from protocol.jobs import event_job
from tests.conftest import examples


def event(name: str, deadline: float | None = None) -> Emit:
    return Emit(id=name, event="question:created", rooms=("r",), data={}, deadline=deadline)


class Wire:
    """Where messages go; down while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.refuses = ""
        self.heard: list[str] = []
        self.events: list[UUID] = []

    async def publish(self, told: Sequence[Told]) -> None:
        if self.away:
            raise ConnectionError
        if self.refuses in [one.id for one in told if isinstance(one, Emit)]:
            raise TypeError
        self.heard += [one.id for one in told if isinstance(one, Emit)]
        self.events += [one.event_id for one in told if isinstance(one, Envelope)]


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def outbox(domain: Domain, wire: Wire, clock: VirtualClock) -> Outbox:
    return Outbox(domain.pool, wire.publish, clock)


async def tell(outbox: Outbox, key: str, *emits: Emit) -> None:
    async with outbox.change() as change:
        change.tell(key, *emits)


async def test_what_can_never_be_told_holds_up_nobody(
    domain: Domain, outbox: Outbox, wire: Wire, clock: VirtualClock
) -> None:
    """A row that nobody can read, one that is refused, and others of their key and of another."""
    wire.away = True
    await tell(outbox, "q", event("1"), event("refused"), event("2"))
    await tell(outbox, "other", event("3"))
    await domain.pool.execute(
        "UPDATE outbox SET payload = 'x' WHERE id = (SELECT min(id) FROM outbox)"
    )
    wire.away, wire.refuses = False, "refused"
    clock.advance(2)
    assert await outbox.sweep() == 4
    assert wire.heard == ["2", "3"]
    assert await outbox.sweep() == 0


async def test_nothing_is_told_of_what_did_not_happen(outbox: Outbox, wire: Wire) -> None:
    async def fail() -> None:
        async with outbox.change() as change:
            change.tell("q", event("1"))
            raise conflict("no")

    with pytest.raises(HubError):
        await fail()
    assert wire.heard == []


async def _fail_inside(change: Change) -> None:
    async with change.savepoint():
        await change.conn.execute("INSERT INTO users (id, nickname) VALUES ('u', 'u')")
        change.tell("q1", event("inside"))
        change.enqueue(event_job("e1"))
        raise conflict("no")


async def test_a_savepoint_takes_back_what_its_block_wrote_told_and_enqueued(
    domain: Domain, outbox: Outbox, wire: Wire
) -> None:
    async with outbox.change() as change:
        change.tell("q1", event("before"))
        with pytest.raises(HubError):
            await _fail_inside(change)
        async with change.savepoint():
            change.tell("q1", event("after"))
            change.enqueue(event_job("e2"))
    assert wire.heard == ["before", "after"]
    assert await domain.pool.fetchval("SELECT count(*) FROM users") == 0
    payloads = await domain.pool.fetch("SELECT convert_from(payload, 'utf8') AS p FROM pgqueuer")
    assert [row["p"] for row in payloads] == ['{"eventId":"e2"}']


async def test_a_later_row_does_not_overtake_an_older_one_of_its_key(
    outbox: Outbox, wire: Wire, clock: VirtualClock
) -> None:
    wire.away = True
    await tell(outbox, "q", event("1"))
    wire.away = False
    await tell(outbox, "q", event("2"))
    await tell(outbox, "other", event("3"))
    assert wire.heard == ["3"]
    clock.advance(2)
    assert await outbox.sweep() == 2
    assert wire.heard == ["3", "1", "2"]


async def test_what_is_left_to_the_sweeper_is_many_to_a_row(
    domain: Domain, outbox: Outbox, wire: Wire, clock: VirtualClock
) -> None:
    events = [
        Envelope(
            event_id=uuid4(), event_type="notification.seen", occurred_at=clock.now(), payload={}
        )
        for _ in range(150)
    ]
    async with outbox.change() as change:
        change.tell("q", event("1"))
        change.leave(*events)
    assert (wire.heard, wire.events) == (["1"], [])
    assert await domain.pool.fetchval("SELECT count(*) FROM outbox") == 3
    clock.advance(2)
    assert await outbox.sweep() == 2
    assert wire.events == [one.event_id for one in events]


async def test_fresh_rows_are_left_to_their_own_process(
    outbox: Outbox, wire: Wire, clock: VirtualClock
) -> None:
    wire.away = True
    await tell(outbox, "q", event("1"))
    wire.away = False
    assert await outbox.sweep() == 0
    clock.advance(1)
    assert await outbox.sweep() == 1


async def test_late_is_worse_than_never(outbox: Outbox, wire: Wire, clock: VirtualClock) -> None:
    wire.away = True
    await tell(outbox, "q", event("1", clock.now().timestamp() + 5), event("2"))
    wire.away = False
    clock.advance(5)
    assert await outbox.sweep() == 2
    assert wire.heard == ["2"]


async def test_the_sweeper_comes_back_after_its_connection_was_cut(
    domain: Domain, outbox: Outbox, wire: Wire, clock: VirtualClock
) -> None:
    wire.away = True
    await tell(outbox, "q", event("1"))
    sweeper = asyncio.create_task(run_sweeper(outbox, domain.pool, poll_s=0.05))
    try:
        await domain.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        wire.away = False
        clock.advance(2)
        async with asyncio.timeout(10):
            while wire.heard != ["1"]:
                await asyncio.sleep(0.01)
    finally:
        sweeper.cancel()


@hypothesis_settings(
    max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), min_size=1, max_size=12))
async def test_property_everything_once_and_each_key_in_order(
    domain: Domain, steps: list[tuple[str, bool]]
) -> None:
    wire, clock = Wire(), VirtualClock()
    outbox = Outbox(domain.pool, wire.publish, clock)
    for number, (key, away) in enumerate(steps):
        wire.away = away
        await tell(outbox, key, event(f"{key}{number}"))
    wire.away = False
    clock.advance(2)
    while await outbox.sweep():
        pass
    assert sorted(wire.heard) == sorted(f"{key}{n}" for n, (key, _) in enumerate(steps))
    for key in "ab":
        numbers = [int(name[1:]) for name in wire.heard if name[0] == key]
        assert numbers == sorted(numbers)
