"""One person with several devices, on a virtual clock: whatever is told to them and whatever they
do, in any order, and events that come late, out of order between lanes, or while a fetch is under
way. Everything is drawn from one seed.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any, Final

import msgspec

from hub.domain import erasure
from hub.domain.context import Domain
from hub.domain.notifications import attention, inbox, retraction
from hub.domain.notifications.writing import News
from hub.domain.questions import waves
from hub.domain.rules.reasons import Reason
from hub.plumbing.life.clock import VirtualClock
from protocol.errors import HubError
from protocol.events import Emit
from protocol.names import user_room
from protocol.payload import plain
from protocol.rest.notifications import InboxList
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.domain.notifications.inbox_copy import Copy, Row, as_kept
from tests.hub.domain.questions.town import PHARMACY, PLACE, Town

STEPS: Final = 90
PAGE: Final = 7
"""Rows of one page, few, so that fetches have several."""

OFTEN: Final = {"hear": 30, "sync": 6, "tell": 9, "wait": 4, "fetch": 1, "mark": 4, "delete": 1}
SELDOM: Final = {"answer": 2, "wake": 1, "settle": 1, "erase": 1, "reconnect": 1, "race": 1}


@dataclass
class Device:
    """`lanes`: what is on its way; order holds within one, and of `volatile` the newest counts."""

    sid: str
    copy: Copy = field(default_factory=Copy)
    lanes: dict[str, list[Emit]] = field(default_factory=dict)

    def send(self, one: Emit) -> None:
        if self.sid in one.except_rooms:
            return
        lane = self.lanes.setdefault(one.klass, [])
        if one.klass == "volatile":
            lane.clear()
        lane.append(one)

    @property
    def pending(self) -> list[str]:
        return [name for name, lane in self.lanes.items() if lane]


@dataclass
class Household:
    d: Domain
    clock: VirtualClock
    town: Town
    user_id: str
    chance: Random
    devices: list[Device]
    answers: dict[str, str] = field(default_factory=dict)
    """Who answered: of which answer."""

    urgent: list[str] = field(default_factory=list)
    compared: int = 0
    steps: int = 0
    _last: int = 0
    _named: int = 0

    def fresh(self, kind: str) -> str:
        self._named += 1
        return f"{kind}-{self.user_id}-{self._named}"

    async def step(self) -> None:
        self.steps += 1
        chances = OFTEN | SELDOM
        (verb,) = self.chance.choices(list(chances), list(chances.values()))
        await getattr(self, verb)()
        await self._spread()

    async def tell(self) -> None:
        """A service tells something: to the screens or not, for ever or for a while."""
        batch = [self._news() for _ in range(self.chance.choice([1, 1, 1, 3]))]
        for news in batch:
            await verbs.notify(self.d, news)

    def _news(self) -> News:
        ends = self.d.now() + timedelta(seconds=self.chance.randint(5, 60))
        return News(
            self.user_id,
            self.chance.choice(["sale", "news", "order"]),
            "t",
            "b",
            data={"n": self._named},
            expires_at=self.chance.choice([None, ends]),
            announce=self.chance.random() < 0.7,
        )

    async def answer(self) -> None:
        """Somebody answers an ordinary question of theirs."""
        form = Ask(title="어디", content="?", lat=PLACE[0], lng=PLACE[1])
        question = await verbs.ask(self.d, self.user_id, form)
        who = self.fresh("friend")
        self.answers[who] = (await verbs.answer(self.d, who, question.id, "저기")).id

    async def wake(self) -> None:
        """Somebody near asks urgently; the wave wakes them by name."""
        question = await verbs.ask(self.d, self.fresh("asker"), PHARMACY)
        await waves.tell_audience(self.d, question.id, 1)
        self.urgent.append(question.id)

    async def settle(self) -> None:
        """An urgent question is answered, and taken back."""
        if self.urgent:
            id = self.urgent.pop()
            await verbs.answer(self.d, self.fresh("helper"), id, "여기")
            await retraction.settle_pending(self.d, id, Reason.ANSWERED)

    async def erase(self) -> None:
        if self.answers:
            who, _ = self.answers.popitem()
            async with self.d.outbox.change() as change:
                await erasure.erase(self.d, change, who)

    async def wait(self) -> None:
        self.clock.advance(self.chance.choice([0.2, 1, 5, 30]))

    async def mark(self) -> None:
        """On one device, which is not told of its own mark; or over REST, when all are."""
        device, ids = self.chance.choice(self.devices), self._some()
        verb = self.chance.choice(["seen", "read", "read", "all"])
        by = self.chance.choice([device.sid, None])
        now = self.d.now()
        async with self.d.outbox.change() as change:
            if verb == "seen":
                await attention.mark_seen(self.d, change, self.user_id, ids, by=by)
            else:
                before = now if verb == "all" else None
                await attention.mark_read(self.d, change, self.user_id, ids, before=before, by=by)
        if by is not None:
            kept = list(device.copy.rows) if verb == "all" else ids
            device.copy.marked(kept, "seen" if verb == "seen" else "read")

    async def delete(self) -> None:
        for id in self._some()[:1]:
            try:
                async with self.d.outbox.change() as change:
                    await attention.delete(self.d, change, self.user_id, id)
            except HubError:
                pass  # some other device deleted it before

    def _some(self) -> list[str]:
        known = sorted({id for device in self.devices for id in device.copy.rows})
        return self.chance.sample(known, min(len(known), self.chance.randint(1, 3)))

    async def race(self) -> None:
        """A fetch beside changes, on connections of their own: its count is that of its rows."""
        changes: list[Any] = []
        for _ in range(8):
            changes += [self._page(None, most=1000), verbs.notify(self.d, self._news())]
        changes.append(verbs.mark_read(self.d, self.user_id, self._some()))
        for page in (await asyncio.gather(*changes))[:-1:2]:
            found = Copy()
            found.rows = {item.id: as_kept(plain(item)) for item in page.items}
            assert page.unread == found.unread(self.d.now())[0]

    async def hear(self) -> None:
        device = self.chance.choice(self.devices)
        for _ in range(self.chance.randint(1, 4)):
            if device.pending:
                one = device.lanes[self.chance.choice(device.pending)].pop(0)
                device.copy.hear(one.event, one.data, self.d.now())

    async def sync(self) -> None:
        behind = [one for one in self.devices if one.copy.behind]
        if behind:
            await self._sync(self.chance.choice(behind), busy=True)

    async def _sync(self, device: Device, *, busy: bool) -> None:
        device.copy.ask()
        pages, after = list[Row](), device.copy.next
        while not pages or len(pages[-1]["items"]) == PAGE:
            await self._meanwhile(device, busy)
            page = plain(await inbox.sync(self.d, self.user_id, after, PAGE))
            pages.append(page)
            after = page["next"]
        await self._meanwhile(device, busy)
        device.copy.synced(pages, self.d.now())

    async def fetch(self) -> None:
        """One device begins anew, over REST."""
        device = self.chance.choice(self.devices)
        device.copy.ask()
        pages, after = list[list[Row]](), None
        while not pages or after is not None:
            await self._meanwhile(device, busy=True)
            page = plain(await self._page(after))
            pages.append(page["items"])
            after = page["next"]
        await self._meanwhile(device, busy=True)
        device.copy.fetched(pages, self.d.now())

    async def _page(self, after: str | None, most: int = PAGE) -> InboxList:
        return await inbox.page(
            self.d, self.user_id, after=after, limit=most, unread_only=False, kind=None
        )

    async def _meanwhile(self, device: Device, busy: bool) -> None:
        """While an answer is awaited, things change, and some of it is heard."""
        if busy and self.chance.random() < 0.5:
            await self.tell()
            await self._spread()
        if device.pending and self.chance.random() < 0.7:
            one = device.lanes[self.chance.choice(device.pending)].pop(0)
            device.copy.hear(one.event, one.data, self.d.now())

    async def reconnect(self) -> None:
        """Recovered: all comes that can be recovered, and no counts; else everything is lost."""
        device = self.chance.choice(self.devices)
        if self.chance.random() < 0.5:
            device.lanes.clear()
        else:
            device.lanes.pop("volatile", None)
        device.copy.ready()

    async def _spread(self) -> None:
        """What was told since is on its way to each device."""
        rows = await self.d.pool.fetch(
            "SELECT id, payload FROM outbox WHERE key = $1 AND kind = 'emit' AND id > $2"
            " ORDER BY id",
            user_room(self.user_id),
            self._last,
        )
        for row in rows:
            self._last = row["id"]
            told = msgspec.msgpack.decode(row["payload"]).get("emit")
            if told is not None:
                one = msgspec.convert(told, Emit)
                for device in self.devices:
                    device.send(one)

    async def reconcile(self) -> None:
        """Everything arrives; then each device has what a fresh fetch over REST has."""
        for device in self.devices:
            while device.pending or device.copy.behind:
                if device.pending:
                    one = device.lanes[self.chance.choice(device.pending)].pop(0)
                    device.copy.hear(one.event, one.data, self.d.now())
                else:
                    await self._sync(device, busy=False)
        rows, after, unread = dict[str, Row](), None, 0
        while not rows or after is not None:
            page = plain(await self._page(after))
            rows |= {item["id"]: as_kept(item) for item in page["items"]}
            after, unread = page["next"], page["unread"]
            if not page["items"]:
                break
        count = await inbox.unread_count(self.d, self.user_id)
        for device in self.devices:
            kept = device.copy.rows
            unlike = [id for id in {**kept, **rows} if kept.get(id) != rows.get(id)]
            assert not unlike, [(kept.get(id), rows.get(id)) for id in unlike]
            assert device.copy.unread(self.d.now()) == (count.count, count.by_kind)
            assert unread == count.count
            self.compared += len(rows)


async def live(d: Domain, clock: VirtualClock, seed: int) -> Household:
    """One story; raises AssertionError where a device's copy is not a fresh fetch's."""
    policy = replace(d.policy, urgent_per_person_day=1000, urgent_push_pause_s=0)
    d = replace(d, policy=policy)
    town = Town(d, clock)
    user_id = f"minji-{seed}"
    await town.person(user_id, 1.0)
    chance = Random(seed)
    devices = [Device(f"sid-{n}") for n in range(3)]
    home = Household(d, clock, town, user_id, chance, devices)
    for part in range(3):
        for _ in range(STEPS // 3):
            await home.step()
        await home.reconcile()
        assert home.compared, part
    await town.sql("DELETE FROM user_locations WHERE user_id = $1", user_id)
    return home
