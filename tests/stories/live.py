"""Story: a live-commerce room over two nodes. Whoever watches talks, with each message sent by two
devices at once, one a node; then a node dies in the middle of a message of everybody.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from socketio.exceptions import SocketIOError

from protocol.names import CHAT, STREAMING, chat_room
from tests.client import PATIENCE, Person
from tests.stories.fleet import Fleet
from tests.stories.limits import in_namespace, token
from tests.stories.processes import Door

ROOM: Final = "live"
TTL_S: Final = 4
"""PRESENCE_TTL: a dead node's viewers are gone within it."""

SETTINGS: Final = {
    "PING_INTERVAL": "1000",
    "PING_TIMEOUT": "1000",
    "PRESENCE_TTL": str(TTL_S),
    "CHAT_RATE_MAX": "1000",
}
DYING_S: Final = 2.0
"""How long an answer of the node that dies is waited for."""


@dataclass(frozen=True, slots=True)
class Plan:
    people: int = 40
    messages: int = 15


@dataclass(slots=True)
class Result:
    """`ids` are those that a message was acknowledged with, `rows` what PostgreSQL has; `heard`: of
    each socket on the node that stays, how often each message came."""

    plan: Plan
    ids: dict[str, set[str]] = field(default_factory=dict)
    acknowledged: int = 0
    rows: int = 0
    heard: list[Counter[str]] = field(default_factory=list)
    viewers: tuple[int, int] = (0, 0)
    right_s: float = 0.0

    @property
    def faults(self) -> dict[str, int]:
        known = {id for ids in self.ids.values() for id in ids}
        return {
            "acknowledged differently": sum(len(ids) > 1 for ids in self.ids.values()),
            "never acknowledged": sum(not ids for ids in self.ids.values()),
            "not heard": sum(id not in heard for heard in self.heard for id in known),
            "heard twice": sum(n > 1 for heard in self.heard for n in heard.values()),
            "rows too many or too few": abs(self.rows - len(self.ids)),
        }

    @property
    def right(self) -> bool:
        counted = self.viewers == (self.plan.people, self.plan.people // 2)
        return not any(self.faults.values()) and counted and self.right_s < TTL_S + 1

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {what}" for what, count in self.faults.items())
        return (
            f"{len(self.ids)} messages of {self.plan.people} people on two nodes,"
            f" {self.acknowledged} acknowledgements, each to {len(self.heard)} sockets of the node"
            f" that stays: {faults}; viewers {self.viewers[0]}, {self.viewers[1]} after the death"
            f" of a node, right after {self.right_s:.1f} s (PRESENCE_TTL {TTL_S} s)"
        )


async def play(fleet: Fleet, plan: Plan) -> Result:
    staying, dying = fleet.hubs
    result = Result(plan)
    names = [f"guest{number}" for number in range(plan.people)]
    talkers = [
        (await _come(fleet, staying, name, CHAT), await _come(fleet, dying, name, CHAT))
        for name in names
    ]
    watching = [
        await _come(fleet, (staying, dying)[number % 2], name, STREAMING)
        for number, name in enumerate(names)
    ]
    await watching[0].next("stream:viewer:count", lambda told: told["viewers"] == plan.people)
    for _ in range(plan.messages):
        await asyncio.gather(*(_say(result, pair, str(uuid4())) for pair in talkers))
    await _say_while_it_dies(result, talkers, dying.kill())
    died = monotonic()
    for _ in range(plan.messages):
        await asyncio.gather(*(_say(result, pair[:1], str(uuid4())) for pair in talkers))
    left = plan.people // 2
    with suppress(TimeoutError):
        await watching[0].next("stream:viewer:count", lambda told: told["viewers"] == left)
    result.right_s = monotonic() - died
    again = await watching[0].call("stream:viewer:join", {"streamKey": ROOM})
    result.viewers = (plan.people, again["viewers"])
    result.heard = [await _heard(pair[0], len(result.ids)) for pair in talkers]
    result.rows = await fleet.domain.pool.fetchval(
        "SELECT count(*) FROM room_messages WHERE room = $1", chat_room(ROOM)
    )
    return result


async def _come(fleet: Fleet, hub: Door, name: str, namespace: str) -> Person:
    """Into the room, or to the stream."""
    person = in_namespace(hub, token(fleet, name), namespace)
    fleet.people.append(person)
    await person.connect()
    joins = {CHAT: ("chat:join-room", "roomId"), STREAMING: ("stream:viewer:join", "streamKey")}
    event, key = joins[namespace]
    answer = await person.call(event, {key: ROOM})
    assert answer["ok"], answer
    return person


async def _say(result: Result, devices: tuple[Person, ...], message: str) -> None:
    """By all devices at once; what each of them is told."""
    form = {"roomId": ROOM, "content": f"살게요 {message}", "clientMessageId": message}
    ids = result.ids.setdefault(message, set())

    async def by(device: Person, timeout: float) -> None:
        answer = await device.sio.call("chat:send-message", form, namespace=CHAT, timeout=timeout)
        assert isinstance(answer, dict)
        assert answer["ok"], answer
        ids.add(answer["messageId"])
        result.acknowledged += 1

    async with asyncio.TaskGroup() as group:
        for device in devices:
            group.create_task(by(device, PATIENCE))


async def _say_while_it_dies(
    result: Result, talkers: list[tuple[Person, Person]], death: Coroutine[Any, Any, None]
) -> None:
    """To the dying node alone; who hears nothing of it says the same to the other one."""
    said = [(pair, str(uuid4())) for pair in talkers]

    async def ask(device: Person, message: str) -> None:
        with suppress(SocketIOError, TimeoutError, ExceptionGroup):
            async with asyncio.timeout(DYING_S):
                await _say(result, (device,), message)

    asked = [asyncio.create_task(ask(pair[1], message)) for pair, message in said]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)  # the others are on their way
    await death
    await asyncio.gather(*asked)
    await asyncio.gather(*(_say(result, pair[:1], message) for pair, message in said))


async def _heard(person: Person, count: int) -> Counter[str]:
    """When all have come, or time is over."""
    with suppress(TimeoutError):
        await person.some("chat:message", count)
    return Counter(args[0]["messageId"] for name, args in person.heard if name == "chat:message")
