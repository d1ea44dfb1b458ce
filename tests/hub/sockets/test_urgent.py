"""An urgent question at the sockets: claims, and the region's last wave."""

from dataclasses import replace

from hub.domain.questions.waves import broadcast_id
from hub.plumbing.settings.parsing import Wave
from hub.plumbing.settings.settings import Settings
from tests import verbs
from tests.hub.sockets.conftest import JEJU, Connect, Running, running, settle_in
from tests.hub.sockets.test_main import SEOGWIPO, is_about, urgent


async def test_who_claims_is_told_and_so_are_the_asker_and_the_room(
    hub: Running, connect: Connect
) -> None:
    asked = await verbs.ask(hub.domain, "traveller", urgent())
    asker, minji = await connect(hub, "traveller"), await connect(hub, "minji")
    mine = {"questionId": asked.id}
    taken = await minji.call("question:claim", mine)
    assert (taken["ok"], taken["claims"]) == (True, 1)
    assert taken["leaseUntil"] is not None
    heard = await asker.next("question:claimed", is_about(asked.id))
    assert (heard["claims"], heard["leaseUntil"]) == (1, taken["leaseUntil"])
    refused = await asker.call("question:claim", mine)
    assert refused["error"]["code"] == "FORBIDDEN"
    given = await minji.call("question:release", mine)
    assert (given["claims"], given["leaseUntil"]) == (0, None)
    await asker.next("question:claimed", lambda told: told["claims"] == 0)
    await minji.next("question:claimed", lambda told: told["claims"] == 0)  # still in its room


async def test_who_enters_a_region_later_is_told_what_it_was_told(
    settings: Settings, connect: Connect
) -> None:
    """By connecting and by moving."""
    whole = settings.questions.model_copy(update={"urgent_waves": (Wave(0, None),)})
    async with running(replace(settings, questions=whole)) as hub:
        await settle_in(hub, "there", *SEOGWIPO)
        there = await connect(hub, "there")
        asked = await verbs.ask(hub.domain, "traveller", urgent(JEJU))
        alert = await there.next("question:urgent", is_about(asked.id))
        assert (alert["id"], alert["radiusM"]) == (broadcast_id(asked.id, 1), None)
        await settle_in(hub, "later", *SEOGWIPO)
        later = await connect(hub, "later")
        assert (await later.next("question:urgent"))["id"] == alert["id"]
        await settle_in(hub, "mover", 35.1, 129.0)
        mover = await connect(hub, "mover")
        await mover.call("inbox:sync", {})
        assert "question:urgent" not in mover.names()
        await mover.call("location:update", {"lat": SEOGWIPO[0], "lng": SEOGWIPO[1]})
        assert (await mover.next("question:urgent"))["id"] == alert["id"]
        await verbs.answer(hub.domain, "jiho", asked.id, "Yes")
        for client in (there, later, mover):
            assert (await client.next("question:retracted"))["reason"] == "answered"
