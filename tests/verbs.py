"""The heart's verbs, each in a change of its own, as a door opens one for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hub.domain import rooms
from hub.domain.context import Domain
from hub.domain.notifications import attention, writing
from hub.domain.notifications.writing import News, Written
from hub.domain.people import blocks, devices, members, positions, preferences, profiles
from hub.domain.people.positions import Moved
from hub.domain.people.sessions import Service
from hub.domain.questions import accepting, answering, asking, closing
from hub.domain.rules.states import QuestionStatus
from protocol.domain_events import UserUpdated
from protocol.rest.answers import Answer
from protocol.rest.devices import Device, DeviceRequest
from protocol.rest.people import Preferences, PreferencesChange, Profile, ProfileChange
from protocol.rest.questions import Ask, Question
from protocol.rest.rooms import Broadcast, BroadcastRequest


async def ask(d: Domain, asker: str, form: Ask) -> Question:
    async with d.outbox.change() as change:
        return await asking.ask(d, change, asker, form)


async def close(
    d: Domain, owner: str, question_id: str, status: QuestionStatus = QuestionStatus.CLOSED
) -> None:
    async with d.outbox.change() as change:
        await closing.close(d, change, question_id, status, owner=owner)


async def answer(d: Domain, answerer: str, question_id: str, content: str) -> Answer:
    async with d.outbox.change() as change:
        return await answering.answer(d, change, answerer, question_id, content)


async def accept(d: Domain, asker: str, answer_id: str) -> Answer:
    async with d.outbox.change() as change:
        return await accepting.accept(d, change, asker, answer_id)


async def notify(d: Domain, *batch: News) -> list[Written]:
    async with d.outbox.change() as change:
        return await writing.notify(d, change, batch)


async def acknowledge(
    d: Domain, user_id: str, ids: Sequence[str], question_ids: Sequence[str] = ()
) -> int:
    async with d.outbox.change() as change:
        shown = attention.Shown(user_id, ids, question_ids)
        return (await attention.acknowledge(d, change, [shown]))[0]


async def mark_seen(d: Domain, user_id: str, ids: Sequence[str]) -> int:
    async with d.outbox.change() as change:
        return await attention.mark_seen(d, change, user_id, ids)


async def mark_read(
    d: Domain, user_id: str, ids: Sequence[str], *, before: datetime | None = None
) -> int:
    async with d.outbox.change() as change:
        return await attention.mark_read(d, change, user_id, ids, before=before)


async def add_device(d: Domain, user_id: str, form: DeviceRequest) -> Device:
    async with d.outbox.change() as change:
        return await devices.add_device(d, change, user_id, form)


async def locate(
    d: Domain, user_id: str, lat: float, lng: float, accuracy_m: float | None = 10
) -> Moved:
    async with d.outbox.change() as change:
        return await positions.locate(d, change, user_id, lat, lng, accuracy_m)


async def update(d: Domain, event: UserUpdated, at: datetime | None = None) -> None:
    async with d.outbox.change() as change:
        await members.update(d, change, event, at)


async def prefer(d: Domain, user_id: str, **wishes: Any) -> Preferences:
    async with d.outbox.change() as change:
        return await preferences.set_to(d, change, user_id, PreferencesChange(**wishes))


async def introduce(d: Domain, user_id: str, **fields: Any) -> Profile:
    async with d.outbox.change() as change:
        return await profiles.set_to(d, change, user_id, ProfileChange(**fields), own=True)


async def block(d: Domain, user_id: str, other: str) -> None:
    async with d.outbox.change() as change:
        await blocks.block(d, change, user_id, other)


async def broadcast(d: Domain, caller: Service, room: str, form: BroadcastRequest) -> Broadcast:
    async with d.outbox.change() as change:
        return await rooms.broadcast(d, change, caller, room, form)
