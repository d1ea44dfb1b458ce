"""The engine as the slow-consumer and soak measurements drive it: stamped events to a room,
alerts to a smaller one, and what it counts at /state.

    python -m tests.show.engine_app --port P
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from typing import Any

import orjson
import uvloop
from aiohttp import web

from hub.engine import Event, Options, Server, freeze_start, watch_lag
from hub.engine.rooms.member import Member, Room
from hub.engine.session.connection import Connection

FAR = 1_000_000


class App:
    def __init__(self, ping: float) -> None:
        self.sio = Server(
            Options(
                conn_max_node=FAR,
                conn_max_ip=FAR,
                accept_rate=FAR,
                ping_interval=ping,
                ping_timeout=ping,
            )
        )
        self.offset = 0
        for handler in (self.connect, self.join, self.pub, self.urgent, self.fill):
            self.sio.on(handler.__name__, handler)

    def stamped(self, args: list[Any], **kwargs: Any) -> Event:
        self.offset += 1
        return Event(args, offset=f"{self.offset:012}", **kwargs)

    def connect(self, sid: str, environ: Any, auth: Any) -> bool:
        return not (isinstance(auth, dict) and auth.get("refuse"))

    def join(self, sid: str, data: dict[str, Any]) -> bool:
        self.sio.manager.basic_enter_room(sid, "/", data["room"])
        if "also" in data:
            self.sio.manager.basic_enter_room(sid, "/", data["also"])
        return True

    def pub(self, sid: str, data: dict[str, Any]) -> None:
        self.sio.deliver(self.stamped(["q", data]), [data["room"]])
        if data["seq"] % 4 == 0:
            presence = Event(["presence", {"n": 1}], kind="volatile", key="p")
            self.sio.deliver(presence, [data["room"]])

    def urgent(self, sid: str, data: dict[str, Any]) -> None:
        self.sio.deliver(self.stamped(["urgent", data], kind="alert"), [data["room"]])

    async def fill(self, sid: str, data: dict[str, Any]) -> int:
        """Until ``bytes`` wait for each member of ``room`` (at least); how many there are."""
        members = self.sio.select([data["room"]])
        while members:
            least = min(_waiting(member) for member in members)
            if least >= data["bytes"]:
                break
            size = min(60_000, max(1_000, data["bytes"] - least))
            self.sio.deliver(self.stamped(["fill", "x" * size]), [data["room"]])
            await asyncio.sleep(0.01)
        return len(members)

    async def state(self, request: web.Request) -> web.Response:
        gc.collect()
        counters = self.sio.book.counters
        kinds = (Connection, Member, Room)
        alive = dict.fromkeys((kind.__name__ for kind in kinds), 0)
        for thing in gc.get_objects():
            if type(thing) in kinds:
                alive[type(thing).__name__] += 1
        body = {
            "rss": _rss(),
            "closed": counters.closed,
            "dropped": counters.dropped,
            "refused": counters.refused,
            "sockets": len(self.sio.eio.sockets),
            "sessions": self.sio.book.limits.open,
            "rooms": sum(len(space.rooms) for space in self.sio.manager.namespaces.values()),
            "tasks": len(asyncio.all_tasks()),
            "deadlines": len(self.sio.book.deadlines) + len(self.sio.book.beats),
            "objects": alive,
        }
        return web.Response(body=orjson.dumps(body))


def _waiting(member: Member) -> int:
    link = member.link
    return link.waiting if isinstance(link, Connection) else 0


def _rss() -> int:
    """Bytes resident."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


async def serve(port: int, ping: float) -> None:
    app = App(ping)
    http = web.Application()
    http.router.add_get("/state", app.state)
    print(await app.sio.listen("127.0.0.1", port, http), flush=True)
    freeze_start()
    await watch_lag(app.sio.book.counters)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ping", type=float, default=25.0, help="interval and time-out, s")
    args = parser.parse_args()
    uvloop.run(serve(args.port, args.ping))


if __name__ == "__main__":
    main()
