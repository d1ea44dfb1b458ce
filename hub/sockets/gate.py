"""The one gate of every client event: limit, form, act, acknowledge, count, log.

Whatever goes wrong behind it becomes a coded answer here and nowhere else.
"""

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from hub.engine import Member, Server
from hub.plumbing import redis_client, trace
from hub.plumbing.limits import Verdict
from hub.plumbing.metrics import ERRORS, SOCKET_EVENTS, UNKNOWN
from hub.plumbing.postgres import AWAY
from hub.plumbing.telemetry import AccessLog
from hub.sockets.node import guest_of
from protocol.errors import Code, HubError, invalid, unavailable
from protocol.events import ClientEvent, Empty, Ok
from protocol.payload import Message, plain, read

Check = Callable[[ClientEvent, str], Awaitable[Verdict]]
"""Counts an event of a person. Whether it is allowed, and how long to wait otherwise."""

Act = Callable[[Member, Any], Message | Awaitable[Message]]
"""Acts on one event: member, payload. Raises HubError."""

Handle = Callable[..., Any]

DONE: Final = "ok"

log = structlog.get_logger(__name__)


class Gate:
    def __init__(self, server: Server, check: Check, access: AccessLog) -> None:
        self._server = server
        self._check = check
        self._access = access

    def add(self, event: ClientEvent, act: Act) -> None:
        """Let this event through to `act`."""
        self._server.on(event.name, self._through(event, act), namespace=event.namespace)

    def close(self, namespace: str) -> None:
        """Answer every other event of a namespace with an error."""
        handle = self._through(ClientEvent(UNKNOWN, Empty, Ok, namespace), None)

        async def unknown(_event: str, sid: str, *args: Any) -> dict[str, Any]:
            ack: dict[str, Any] = await handle(sid, *args)
            return ack

        self._server.on("*", unknown, namespace=namespace)

    def _through(self, event: ClientEvent, act: Act | None) -> Handle:
        async def handle(sid: str, *args: Any) -> dict[str, Any]:
            start = time.perf_counter()
            member = self._member(sid, event)
            with trace.traced() as work:
                try:
                    _allow(await self._check(event, guest_of(member).user_id))
                    if act is None:
                        raise invalid("There is no such event.")
                    answer = act(member, read(_payload(args), event.payload))
                    ack = _done(await answer if inspect.isawaitable(answer) else answer)
                    outcome = DONE
                except Exception as error:
                    ack, outcome = _refused(error, work)
                self._record(member, event, ack, outcome, start)
            return ack

        return handle

    def _member(self, sid: str, event: ClientEvent) -> Member:
        member = self._server.member(sid, event.namespace)
        assert member is not None
        return member

    def _record(
        self, member: Member, event: ClientEvent, ack: dict[str, Any], outcome: str, start: float
    ) -> None:
        seconds = time.perf_counter() - start
        SOCKET_EVENTS.count(event.namespace, event.name, outcome, seconds)
        if self._access.wants_event(outcome, seconds):
            room = ack.get("room")
            self._access.event(
                namespace=event.namespace,
                event=event.name,
                outcome=outcome,
                seconds=seconds,
                sid=member.sid,
                userId=guest_of(member).user_id,
                **({"room": room} if isinstance(room, str) else {}),
            )


def _done(answer: Message) -> dict[str, Any]:
    return {"ok": True, **plain(answer)}


def _refused(error: Exception, work: trace.Trace) -> tuple[dict[str, Any], str]:
    """The acknowledgement, and the outcome that is counted."""
    fault = coded(error)
    outcome = fault.code.value
    ERRORS.labels(door="socket", code=outcome).inc()
    return {"ok": False, "error": fault.body(work.request_id)}, outcome


def _payload(args: tuple[Any, ...]) -> dict[str, Any]:
    """Exactly one object, or nothing."""
    if not args:
        return {}
    if len(args) != 1 or not isinstance(args[0], dict):
        raise invalid("An event carries one object.")
    return args[0]


def _allow(verdict: Verdict) -> None:
    if not verdict.allowed:
        raise HubError(Code.RATE_LIMITED, retry_after_ms=verdict.retry_after_ms)


def coded(error: Exception) -> HubError:
    """What a caller is told of an error; what nobody foresaw is logged and INTERNAL."""
    if isinstance(error, HubError):
        return error
    if isinstance(error, (*redis_client.AWAY, *AWAY, RedisError)):
        return unavailable()
    log.error("a call on a socket failed", exc_info=error)
    return HubError(Code.INTERNAL)
