"""While a connection is being admitted nothing that is for it is lost, and nothing is sent yet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.engine import Event, Member, Server

from .wire import Site, event

NOBODY = ("a sid of nobody",)


@pytest.mark.parametrize("excepted", [(), NOBODY], ids=["joined", "at once"])
async def test_what_is_for_everybody_waits_as_well(
    sio: Server, site: Site, excepted: tuple[str, ...]
) -> None:
    """Missed here, an event is missed for good: a replay ended before it."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def admit(member: Member, auth: Any) -> dict[str, Any]:
        begun.set()
        await go_on.wait()
        return {}

    sio.hooks.admit = admit
    async with site.wire() as wire:
        await wire.put("40")
        await begun.wait()
        sio.deliver(Event(["e", {"n": 1}], offset="1"), None, excepted)
        assert list(sio.members()) == []
        assert sio.live().get("/", 0) == 0
        go_on.set()
        assert (await wire.text()).startswith('40{"sid":')
        assert event(await wire.text()) == ["e", {"n": 1}, "1"]
        sio.deliver(Event(["e", {"n": 2}], offset="2"), None, excepted)
        assert event(await wire.text()) == ["e", {"n": 2}, "2"]


async def test_whoever_is_refused_leaves_nothing(sio: Server, site: Site) -> None:
    async def admit(member: Member, auth: Any) -> dict[str, Any]:
        sio.deliver(Event(["e", {"n": 1}]))
        raise ConnectionRefusedError

    sio.hooks.admit = admit
    async with site.wire() as wire:
        await wire.put("40")
        assert (await wire.text()).startswith("44")
    assert not sio.manager.namespaces["/"].held
