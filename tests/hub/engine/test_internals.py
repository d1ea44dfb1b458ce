"""What we lean on inside the libraries that we pin, name by name: an upgrade fails here first."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import engineio
import pytest
import socketio
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler
from engineio import base_server as engineio_base
from engineio import payload
from socketio import base_manager, base_server
from websockets.protocol import SERVER, Protocol


def test_pinned_versions() -> None:
    assert version("python-socketio") == "5.18.1"
    assert version("python-engineio") == "4.15.1"


def _parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        # overridden in hub.engine.face.server
        (socketio.AsyncServer, "_engineio_server_class", []),
        (socketio.AsyncServer, "_send_packet", ["eio_sid", "pkt"]),
        (socketio.AsyncServer, "disconnect", ["sid", "namespace", "ignore_queue"]),
        # called by hub.engine.face.calls
        (socketio.AsyncServer, "_trigger_event", ["event", "namespace", "args"]),
        (socketio.AsyncServer, "_handle_eio_connect", ["eio_sid", "environ"]),
        (socketio.AsyncServer, "_handle_eio_disconnect", ["eio_sid", "reason"]),
        (base_server.BaseServer, "_get_event_handler", ["event", "namespace", "args"]),
        (base_server.BaseServer, "_get_namespace_handler", ["namespace", "args"]),
        # overridden in hub.engine.face.manager
        (base_manager.BaseManager, "is_connected", ["sid", "namespace"]),
        (base_manager.BaseManager, "sid_from_eio_sid", ["eio_sid", "namespace"]),
        (base_manager.BaseManager, "eio_sid_from_sid", ["sid", "namespace"]),
        (base_manager.BaseManager, "get_participants", ["namespace", "room"]),
        (base_manager.BaseManager, "basic_enter_room", ["sid", "namespace", "room", "eio_sid"]),
        (base_manager.BaseManager, "basic_leave_room", ["sid", "namespace", "room"]),
        (base_manager.BaseManager, "basic_close_room", ["room", "namespace"]),
        (base_manager.BaseManager, "get_rooms", ["sid", "namespace"]),
        # overridden in hub.engine.session.engine
        (engineio.AsyncServer, "handle_request", ["args", "kwargs"]),
        (engineio.AsyncServer, "attach", ["app", "engineio_path"]),
        (engineio_base.BaseServer, "generate_id", []),
        (engineio_base.BaseServer, "_ok", ["packets", "headers", "jsonp_index"]),
        # called by it
        (engineio.AsyncServer, "_trigger_event", ["event", "args", "kwargs"]),
        (engineio_base.BaseServer, "_get_socket", ["sid"]),
        (engineio_base.BaseServer, "_gzip", ["response"]),
        (engineio_base.BaseServer, "_deflate", ["response"]),
        (payload.Payload, "encode", ["jsonp_index"]),
        # overridden in hub.plumbing.http.server
        (RequestHandler, "connection_made", ["transport"]),
        (RequestHandler, "connection_lost", ["exc"]),
        (RequestHandler, "data_received", ["data"]),
        (RequestHandler, "_handle_request", ["request", "start_time", "request_handler"]),
        (RequestHandler, "finish_response", ["request", "resp", "start_time"]),
        (RequestHandler, "handle_error", ["request", "status", "exc", "message"]),
        (RequestHandler, "log_exception", ["args", "kw"]),
        # the reader lent to connections
        (Protocol, "receive_data", ["data"]),
        (Protocol, "events_received", []),
        (Protocol, "data_to_send", []),
    ],
)
def test_signatures(owner: Any, name: str, parameters: list[str]) -> None:
    assert _parameters(getattr(owner, name)) == parameters


def test_attributes() -> None:
    server = socketio.AsyncServer(async_mode="aiohttp")
    assert {
        "handlers",
        "namespace_handlers",
        "not_handled",
        "environ",
        "manager",
        "namespaces",
    } <= set(vars(server))
    assert {"sockets", "handlers", "transports"} <= set(vars(server.eio))
    assert set(server.eio.handlers) == {"connect", "message", "disconnect"}
    assert server.eio.compression_methods == ["gzip", "deflate"]
    assert {"_message_tail", "_messages", "_current_request", "_close"} <= set(
        RequestHandler.__slots__
    )
    assert {"transport", "_paused", "_reading_paused", "_buffer_paused", "_loop"} <= set(
        BaseProtocol.__slots__
    )


def test_the_reader_can_be_lent_again() -> None:
    """Between two messages it holds nothing: this is what Readers.give_back asks."""
    reader = Protocol(SERVER, max_size=100)
    for _ in range(3):
        reader.receive_data(b"\x81\x82\x00\x00\x00\x00hi")
        assert [bytes(frame.data) for frame in reader.events_received()] == [b"hi"]  # type: ignore[union-attr]
        assert reader.data_to_send() == []
        assert reader.current_size is None
        assert len(reader.reader.buffer) == 0
