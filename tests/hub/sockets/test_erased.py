"""Somebody erased is gone from every node and namespace, and their clients know it is for good."""

from uuid import uuid4

from hub.domain import intake
from protocol.domain_events import Envelope
from tests.hub.domain.test_flow import SERVICE
from tests.hub.sockets.conftest import Connect, Running
from tests.hub.sockets.test_chat import Come, come, other

__all__ = ["come", "other"]


async def test_the_sockets_of_an_erased_person_are_cut(
    hub: Running, other: Running, connect: Connect, come: Come
) -> None:
    phone, laptop = await connect(hub, "erin"), await connect(other, "erin")
    talking, friend = await come(other, "erin"), await come(hub, "bora")
    for talker in (talking, friend):
        await talker.enter_room()
    event = Envelope(
        event_id=uuid4(),
        event_type="user.deleted",
        occurred_at=hub.domain.now(),
        payload={"userId": "erin"},
    )
    await intake.accept(hub.domain, SERVICE, [event])
    for one in (phone, laptop, talking):
        await one.next("(disconnect)")
    assert (await phone.next("session:revoked"))["reason"] == "revoked"
    assert (await friend.next("chat:user-left"))["userId"] == "erin"
    assert await hub.domain.pool.fetchval("SELECT count(*) FROM room_memberships") == 1
