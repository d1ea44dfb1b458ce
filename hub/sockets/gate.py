"""The one gate of every client event: limit, form, act, acknowledge, count, log.

Whatever goes wrong behind it becomes a coded answer here and nowhere else.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import RedisError

from hub.engine import Member
from hub.plumbing import redis_client, trace
from hub.plumbing.limits import Window
from hub.plumbing.metrics import ERRORS, SOCKET_EVENT_DURATION, SOCKET_EVENTS, UNKNOWN
from hub.plumbing.postgres import AWAY
from hub.sockets.node import Handler, Node, guest_of
from protocol.errors import Code, HubError, invalid, unavailable
from protocol.events import CLIENT_EVENTS, ClientEvent, Empty, Ok
from protocol.payload import Message, plain, read

log = structlog.get_logger(__name__)


def attach(node: Node, namespace: str, handlers: Mapping[str, Handler]) -> None:
    """Let these events through to their handlers, and answer any other with an error.

    Raises KeyError for a handler of an event that is not in the table.
    """
    for name, act in handlers.items():
        node.server.on(name, _gated(node, CLIENT_EVENTS[name], act), namespace=namespace)

    async def unknown(_event: str, sid: str, *args: Any) -> dict[str, Any]:
        return await _pass(node, sid, ClientEvent(UNKNOWN, Empty, Ok, namespace), None, args)

    node.server.on("*", unknown, namespace=namespace)


def _gated(
    node: Node, event: ClientEvent, act: Handler
) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def handle(sid: str, *args: Any) -> dict[str, Any]:
        return await _pass(node, sid, event, act, args)

    return handle


@dataclass(slots=True)
class _Outcome:
    ack: dict[str, Any]
    code: str = "ok"


async def _pass(
    node: Node, sid: str, event: ClientEvent, act: Handler | None, args: tuple[Any, ...]
) -> dict[str, Any]:
    start = time.perf_counter()
    member = node.server.member(sid, event.namespace)
    assert member is not None
    with trace.traced() as work:
        try:
            outcome = _Outcome({"ok": True, **plain(await _act(node, member, event, act, args))})
        except Exception as error:
            fault = coded(error)
            ERRORS.labels(door="socket", code=fault.code.value).inc()
            body = fault.body(work.request_id)
            outcome = _Outcome({"ok": False, "error": body}, fault.code.value)
        _record(node, member, event, outcome, time.perf_counter() - start)
    return outcome.ack


async def _act(
    node: Node, member: Member, event: ClientEvent, act: Handler | None, args: tuple[Any, ...]
) -> Message:
    await _within_limit(node, event, guest_of(member).user_id)
    if act is None:
        raise invalid("There is no such event.")
    answer: Message = await act(node, member, read(_payload(args), event.payload))
    return answer


def _payload(args: tuple[Any, ...]) -> dict[str, Any]:
    """Exactly one object, or nothing."""
    if not args:
        return {}
    if len(args) != 1 or not isinstance(args[0], dict):
        raise invalid("An event carries one object.")
    return args[0]


async def _within_limit(node: Node, event: ClientEvent, user_id: str) -> None:
    """Raises RATE_LIMITED with the ms to wait. The limit is a person's, over all nodes."""
    figures = node.figures
    most = figures.chat_rate_max if event.limit == "chat" else figures.rate_max
    window = Window(f"socket_{event.limit}", most, figures.rate_window_ms)
    verdict = await node.limits.check(window, user_id)
    if not verdict.allowed:
        raise HubError(Code.RATE_LIMITED, retry_after_ms=verdict.retry_after_ms)


def coded(error: Exception) -> HubError:
    """What a caller is told of an error; what nobody foresaw is logged and INTERNAL."""
    if isinstance(error, HubError):
        return error
    if isinstance(error, (*redis_client.AWAY, *AWAY, RedisError)):
        return unavailable()
    log.error("an event failed", exc_info=error)
    return HubError(Code.INTERNAL)


def _record(
    node: Node, member: Member, event: ClientEvent, outcome: _Outcome, seconds: float
) -> None:
    name, namespace = event.name, event.namespace
    SOCKET_EVENTS.labels(namespace=namespace, event=name, outcome=outcome.code).inc()
    SOCKET_EVENT_DURATION.labels(namespace=namespace, event=name).observe(seconds)
    room = outcome.ack.get("room")
    node.access.event(
        namespace=namespace,
        event=name,
        outcome=outcome.code,
        seconds=seconds,
        sid=member.sid,
        userId=guest_of(member).user_id,
        **({"room": room} if isinstance(room, str) else {}),
    )
