"""Bytes to sockets: Engine.IO and Socket.IO on our own listening socket.

``Server`` is python-socketio's AsyncServer to whoever attaches handlers; it knows no Redis.
"""

from hub import without

with without("requests", "valkey"):  # of the client and the Redis manager that block
    import socketio  # noqa: F401

from .dispatch import Unavailable
from .events import Event
from .options import Handshake, Options, Refusal
from .rooms import Member
from .server import Server

__all__ = ["Event", "Handshake", "Member", "Options", "Refusal", "Server", "Unavailable"]
