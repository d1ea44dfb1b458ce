"""A node of the cluster as the bench measures it: the engine on the Redis wire, join and pub.

    python -m tests.benchmarks.cluster_app --port P --redis URL
    python -m tests.benchmarks.cluster_app --template [--logged] [--room neighbourhood:aewol]

With `--template` it prints what an external publisher of the bench sends, channel and message:
ours, without an offset or as the publishing script sends it.
"""

import argparse
import asyncio
import sys
from typing import Any

import uvloop

from hub.cluster.cluster import Cluster, ClusterOptions
from hub.cluster.server import Server as RedisServer
from hub.engine import Member, freeze_start
from hub.sockets.context import Order
from hub.sockets.from_cluster import LocalSockets
from protocol.names import Channels
from protocol.redis_wire import Broadcast, encode_closed, encode_open
from tests.benchmarks.app import bench_server

SEQ, TS = "S" * 7, "T" * 16
"""What the load generator fills in, as wide as it will be."""

OFFSET = b"1700000000000-00000{seq}"
"""It grows with the sequence number, as a number of the script does."""


async def serve(port: int, redis: str) -> None:
    """Sockets that join rooms, and a bus that hears these rooms."""
    sio = bench_server()
    orders: asyncio.Queue[Order] = asyncio.Queue()
    guests: dict[str, Member] = {}
    options = ClusterOptions(RedisServer.of(redis), namespaces=("/",))
    cluster = Cluster(options, LocalSockets(sio, guests, orders, lambda _: None))
    sio.on_rooms(
        lambda namespace, room: cluster.bus.join(namespace, str(room)),
        lambda namespace, room: cluster.bus.leave(namespace, str(room)),
    )
    await cluster.start()
    await sio.listen("127.0.0.1", port)
    freeze_start()
    await asyncio.Event().wait()


def template(logged: bool, room: str) -> bytes:
    """Channel and message of one event to a room."""
    data = {"room": "r0", "seq": SEQ, "ts": TS, "title": "x" * 168}
    broadcast = Broadcast(event="q", args=(data,), rooms=(room,))
    ((_, message),) = encode_open(broadcast) if logged else encode_closed(broadcast)
    message = message.replace(SEQ.encode(), b"{seq}").replace(TS.encode(), b"{ts}")
    return Channels().room("/", room).encode() + b"\n" + message + (OFFSET if logged else b"")


def main() -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--redis")
    parser.add_argument("--template", action="store_true")
    parser.add_argument("--logged", action="store_true")
    parser.add_argument("--room", default="r0")
    arguments = parser.parse_args()
    if arguments.template:
        sys.stdout.buffer.write(template(arguments.logged, arguments.room))
    else:
        uvloop.run(serve(arguments.port, arguments.redis))


if __name__ == "__main__":
    main()
