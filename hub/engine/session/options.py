"""What an engine is told at its start; no setting is read from the environment here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Limits and times of one engine.

    Times are seconds, sizes bytes. `backlog_low` and `backlog_high` count what waits in this
    process for one connection: over the low mark volatile events are dropped and alerts overtake,
    over the high mark the connection is closed as `slow consumer`. `connects_a_minute` is how
    often one session may ask to join a namespace.

    `connect_timeout` runs from the first byte to an accepted CONNECT, and for whatever else a
    peer has begun: an upgrade, a POST's body, a packet's attachments. `max_payload` bounds a
    message, and a packet's attachments together. `max_waiting_events` bounds the events of one
    session that wait for their handlers; each KiB of one counts as one more.
    `keep_request` is for handlers that read the request which opened a session (`environ`);
    without it nothing but the peer's address is kept.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 60.0
    connect_timeout: float = 10.0
    close_timeout: float = 5.0
    max_payload: int = 65_536
    max_head: int = 16_384
    max_attachments: int = 16
    max_depth: int = 32
    max_held: int = 1_000
    max_waiting_events: int = 64
    connects_a_minute: int = 20
    backlog_low: int = 65_536
    backlog_high: int = 262_144
    send_buffer: int = 65_536
    conn_max_node: int = 20_000
    conn_max_ip: int = 200
    accept_rate: int = 1_000
    trust_proxy: int = 0
    keep_request: bool = True
    cors_origins: str | tuple[str, ...] = ()
    transports: tuple[str, ...] = ("websocket", "polling")
    path: str = "/socket.io/"
    msgpack_path: str | None = "/socket.io-msgpack/"
    listen_backlog: int = 4_096


@dataclass(frozen=True, slots=True)
class Refusal:
    """A handshake refused below Socket.IO: HTTP 503 with Retry-After (s), which stock clients
    answer by coming back. `reason` is the label of the counter."""

    reason: str
    retry_after: int = 1


@dataclass(frozen=True, slots=True)
class Handshake:
    """What is known when a session asks to be opened: the peer's address behind
    `trust_proxy` hops, its transport and the request's query string."""

    address: str
    transport: str
    query: str


Refuse = Callable[[Handshake], Refusal | None]
