"""CONNECT and DISCONNECT without end, and tokens that are none: what they cost is bounded."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from hub.engine import Member
from hub.plumbing.settings.settings import Settings
from hub.sockets import admission
from tests.hub.sockets.conftest import Connect, Dial, Running, running, with_figures


class InFlight:
    """Counts admissions of a hub: how many began, and the most that were under way at once."""

    def __init__(self, hub: Running) -> None:
        self.begun = self.now = self.most = 0
        hooks = hub.door.node.server.hooks
        assert hooks.admit is not None
        self._admit: Callable[..., Any] = hooks.admit
        hooks.admit = self.admit

    async def admit(self, member: Member, auth: Any) -> Any:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._admit(member, auth)
        finally:
            self.now -= 1


async def alone(hub: Running) -> None:
    """Until nobody is left on the hub."""
    async with asyncio.timeout(10):
        while hub.door.node.guests:
            await asyncio.sleep(0.01)


@pytest.mark.fault(24)
async def test_one_connect_of_a_socket_is_under_way_and_ends_with_its_member(
    hub: Running, dial: Dial, record_property: Callable[[str, object], None]
) -> None:
    flight = InFlight(hub)
    wire = await dial(hub)
    connect = "40" + json.dumps({"token": hub.token("minji")})
    for _ in range(12):
        await wire.send(connect)
        await wire.send("41")
    await wire.send(connect)
    assert '"recovered":false' in await wire.starting('42["ready"')
    assert flight.most == 1
    assert flight.begun <= 13
    keys = hub.domain.keys
    assert await hub.domain.redis.zcard(keys.sessions("minji")) == 1
    assert await hub.domain.redis.zcard(keys.presence("minji")) == 1
    assert len(hub.door.node.guests) == 1
    record_property("seen", f"13 CONNECTs sent, {flight.most} under way at once")


@pytest.mark.fault(24)
async def test_a_socket_connects_a_few_times_a_minute(
    hub: Running, dial: Dial, connect: Connect
) -> None:
    bystander = await connect(hub, "jiho")
    flight = InFlight(hub)
    wire = await dial(hub)
    packet = "40" + json.dumps({"token": hub.token("minji")})
    for _ in range(30):
        await wire.send(packet)
        await wire.send("41")
    while isinstance(code := await wire.next(), str):
        pass
    assert code == 1008
    assert flight.begun <= 20
    assert (await bystander.call("inbox:sync", {}))["ok"] is True
    await bystander.close()
    await alone(hub)


@pytest.mark.fault(24)
@pytest.mark.parametrize("packet", ['40{"token":"x"}', "40", "40/nope,", '40{"token":"\\ud83d"}'])
async def test_a_rubbish_token_costs_its_sender_the_socket(
    hub: Running, dial: Dial, packet: str
) -> None:
    wire = await dial(hub)
    for _ in range(20):
        await wire.send(packet)
        await wire.starting("44")
    await wire.send(packet)
    assert await wire.next() == 1008


@pytest.mark.fault(24)
async def test_an_address_of_failed_logins_waits_below_socket_io(
    settings: Settings, dial: Dial, record_property: Callable[[str, object], None]
) -> None:
    async with running(with_figures(settings, max_per_ip=5)) as hub:
        wire = await dial(hub)
        for _ in range(5):
            await wire.send('40{"token":"x"}')
            assert "UNAUTHENTICATED" in await wire.starting("44")
        await wire.send('40{"token":"x"}')
        assert await wire.next() == 1006, "TCP alone: it comes back"
        url = f"{hub.url}/socket.io/?EIO=4&transport=polling"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert answer.status == 503
            assert 0 < int(answer.headers["Retry-After"]) <= 61
        record_property("seen", "503 after 5 failed logins (CONN_MAX_IP=5)")


@pytest.mark.fault(24, 26)
async def test_whoever_is_closed_for_what_it_sends_does_not_simply_dial_again(
    settings: Settings, dial: Dial
) -> None:
    async with running(with_figures(settings, max_per_ip=3)) as hub:
        for _ in range(3):
            wire = await dial(hub)
            await wire.send("4nonsense")
            assert await wire.next() == 1008
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await dial(hub)
        assert refused.value.status == 503


@pytest.mark.fault(24)
async def test_a_person_comes_in_so_often_a_minute(
    settings: Settings, connect: Connect, dial: Dial
) -> None:
    """Whoever is over it is closed below Socket.IO and comes back; others come in."""
    async with running(with_figures(settings, max_per_user=1)) as hub:
        came = hub.door.node.logins.came
        for _ in range(60):
            came("minji")
        wire = await dial(hub)
        await wire.send("40" + json.dumps({"token": hub.token("minji")}))
        assert await wire.next() == 1006, "TCP alone: it comes back"
        await connect(hub, "jiho")


@pytest.mark.fault(24)
async def test_members_of_two_namespaces_come_in_one_after_the_other(
    hub: Running, dial: Dial
) -> None:
    """As stock clients ask for them: in one go. Events sent behind a CONNECT are kept for it."""
    flight = InFlight(hub)
    wire = await dial(hub)
    auth = json.dumps({"token": hub.token("minji"), "recovery": False})
    await wire.send("40" + auth)
    await wire.send("40/streaming," + auth)
    await wire.send('42/streaming,7["stream:viewer:join",{"streamKey":"s"}]')
    assert (await wire.starting("43/streaming,7["))[14:] == '[{"ok":true,"viewers":1}]'
    assert (flight.begun, flight.most) == (2, 1)


async def test_of_many_who_come_at_once_so_many_are_let_in_at_a_time(
    hub: Running, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait for their turn; all of them come in, and are looked up together."""
    node = hub.door.node
    node.admitting = asyncio.Semaphore(3)
    begun, now, most, batches = 0, 0, 0, []
    admit, together = admission._admit, node.arrivals._work

    async def counted(*args: Any) -> Any:
        nonlocal begun, now, most
        begun, now = begun + 1, now + 1
        most = max(most, now)
        try:
            return await admit(*args)
        finally:
            now -= 1

    async def looked_up(people: Any) -> Any:
        batches.append(len(people))
        return await together(people)

    monkeypatch.setattr(admission, "_admit", counted)
    monkeypatch.setattr(node.arrivals, "_work", looked_up)
    await asyncio.gather(*(connect(hub, f"p{number}") for number in range(12)))
    assert (begun, most, len(node.guests)) == (12, 3, 12)
    assert sum(batches) == 12
    assert max(batches) > 1
