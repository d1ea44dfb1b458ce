"""The way of an alert: asked anywhere, heard by every socket in the cells, on every node."""

from hub.plumbing.settings.settings import Settings
from protocol.rest.questions import Ask
from tests import verbs
from tests.hub.sockets.conftest import JEJU, Connect, Running, running, settle_in


def urgent(title: str = "Is a pharmacy open?") -> Ask:
    return Ask(title=title, content=title, urgency="urgent", lat=JEJU[0], lng=JEJU[1])


async def test_ready_comes_first(hub: Running, connect: Connect) -> None:
    client = await connect(hub, "minji")
    ready = await client.next("ready")
    assert client.names()[0] == "ready"
    assert ready["userId"] == "minji"
    assert ready["sid"] == client.sio.get_sid()
    assert ready["unread"] == 0
    assert "user:minji" in ready["rooms"]
    assert ready["recovered"] is False
    assert ready["pid"] is None


async def test_an_urgent_question_reaches_sockets_of_two_nodes(
    hub: Running, settings: Settings, connect: Connect
) -> None:
    await settle_in(hub, "minji")
    await settle_in(hub, "jiho")
    async with running(settings) as other:
        here, there = await connect(hub, "minji"), await connect(other, "jiho")
        asker = await connect(hub, "traveller")
        asked = await verbs.ask(other.domain, "traveller", urgent())
        for client in (here, there):
            alert = await client.next("question:urgent")
            assert alert["questionId"] == asked.id
        acked = await there.call("notification:ack", {"questionIds": [asked.id]})
        assert acked == {"ok": True, "count": 0}
        assert "question:urgent" not in asker.names()
        await there.close()
