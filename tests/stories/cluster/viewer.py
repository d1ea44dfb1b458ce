"""A process that holds one viewer of a stream: `python -m tests.stories.cluster.viewer URL TTL`."""

import asyncio
import sys

from hub.cluster.line import Line
from hub.cluster.presence import Presence
from hub.cluster.server import Server
from protocol.names import Keys

STREAM = "story"


async def main(url: str, ttl: int) -> None:
    keys = Keys()
    presence = Presence(Line(Server.of(url)), keys, "a-node-with-a-viewer", ttl=ttl)
    await presence.enter(keys.viewers(STREAM), "spectator")
    while True:
        await presence.renew()
        print("here", flush=True)
        await asyncio.sleep(ttl / 3)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
