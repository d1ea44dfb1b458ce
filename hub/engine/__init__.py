"""Bytes to sockets: Engine.IO and Socket.IO on our own listening socket, in four storeys.

`Server` is python-socketio's AsyncServer to whoever attaches handlers; it knows no Redis. Imports
go downwards only, `face` → `rooms` → `session` → `wire`; whoever is outside imports from here.
"""

from hub import without

with without("requests", "valkey"):  # of the client and the Redis manager that block
    import socketio  # noqa: F401

from hub.engine.face.hooks import NotTaken, Unavailable
from hub.engine.face.server import Server
from hub.engine.rooms.member import HELD, LEAVING, LIVE, Member, members_of
from hub.engine.session import reasons
from hub.engine.session.options import Handshake, Options, Refusal
from hub.engine.session.process import freeze_start, watch_lag
from hub.engine.session.wheel import Wheel
from hub.engine.wire.event import Event

__all__ = [
    "HELD",
    "LEAVING",
    "LIVE",
    "Event",
    "Handshake",
    "Member",
    "NotTaken",
    "Options",
    "Refusal",
    "Server",
    "Unavailable",
    "Wheel",
    "freeze_start",
    "members_of",
    "reasons",
    "watch_lag",
]
