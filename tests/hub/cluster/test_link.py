"""One connection that listens and asks."""

import asyncio
from typing import Any

from hub.cluster.server import Server
from tests.hub.cluster.valkey import Valkey


async def test_a_list_is_a_reply_unless_it_is_a_message(valkey: Valkey) -> None:
    """Behind Sentinels a node asks ROLE of the connection it is going to listen on."""
    heard: list[list[Any]] = []
    link = await Server.of(valkey.url).open("test", heard.append)
    async with asyncio.timeout(5):
        assert (await link.command("ROLE"))[0] == b"master"
        link.push_command("SUBSCRIBE", "c")
        while not heard:
            await asyncio.sleep(0.001)
    assert heard == [[b"subscribe", b"c", 1]]
    link.close()
