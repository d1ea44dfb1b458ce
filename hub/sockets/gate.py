"""The one gate of every client event: limit, form, act, acknowledge, count, log.

Whatever goes wrong behind it becomes a coded answer here and nowhere else.
"""

import inspect
import time
from collections.abc import Awaitable, Callable
from functools import cache
from types import TracebackType
from typing import Any, cast

import structlog
from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError

from hub.engine import Member, Server
from hub.plumbing import redis_client, trace
from hub.plumbing.limits import Verdict
from hub.plumbing.metrics import ERRORS, SOCKET_EVENT_DURATION, SOCKET_EVENTS, UNKNOWN
from hub.plumbing.postgres import AWAY
from hub.plumbing.telemetry import AccessLog
from hub.sockets.node import guest_of
from protocol.errors import Code, HubError, invalid, unavailable
from protocol.events import ClientEvent, Empty, Ok
from protocol.payload import Message, plain, read

Check = Callable[[ClientEvent, str], Awaitable[Verdict]]
"""Counts an event of a person. Whether it is allowed, and how long to wait otherwise."""

CheckAtOnce = Callable[[ClientEvent, str], Verdict]
"""The same, counted in this process."""

Act = Callable[[Member, Any], Message | Awaitable[Message]]
"""Acts on one event: member, payload. Raises HubError."""

Handle = Callable[..., Any]

log = structlog.get_logger(__name__)


class Gate:
    """With a check of this process, plain functions are called without a task."""

    def __init__(self, server: Server, check: Check | CheckAtOnce, access: AccessLog) -> None:
        self._server = server
        self._check = check
        self._access = access

    def add(self, event: ClientEvent, act: Act) -> None:
        """Let this event through to `act`."""
        at_once = not (_awaits(self._check) or _awaits(act))
        handle = self._at_once(event, act) if at_once else self._awaited(event, act)
        self._server.on(event.name, handle, namespace=event.namespace)

    def close(self, namespace: str) -> None:
        """Answer every other event of a namespace with an error."""
        handle = self._awaited(ClientEvent(UNKNOWN, Empty, Ok, namespace), None)

        async def unknown(_event: str, sid: str, *args: Any) -> dict[str, Any]:
            ack: dict[str, Any] = await handle(sid, *args)
            return ack

        self._server.on("*", unknown, namespace=namespace)

    def _awaited(self, event: ClientEvent, act: Act | None) -> Handle:
        async def handle(sid: str, *args: Any) -> dict[str, Any]:
            with trace.traced() as work, self._passage(sid, event, work.request_id) as passage:
                verdict = self._check(event, passage.user_id)
                _allow(await verdict if inspect.isawaitable(verdict) else verdict)
                if act is None:
                    raise invalid("There is no such event.")
                answer = act(passage.member, read(_payload(args), event.payload))
                passage.acknowledge(await answer if inspect.isawaitable(answer) else answer)
            return passage.ack

        return handle

    def _at_once(self, event: ClientEvent, act: Act) -> Handle:
        check = cast(CheckAtOnce, self._check)

        def handle(sid: str, *args: Any) -> dict[str, Any]:
            with trace.traced() as work, self._passage(sid, event, work.request_id) as passage:
                _allow(check(event, passage.user_id))
                answer = act(passage.member, read(_payload(args), event.payload))
                passage.acknowledge(cast(Message, answer))
            return passage.ack

        return handle

    def _passage(self, sid: str, event: ClientEvent, request_id: str) -> "Passage":
        member = self._server.member(sid, event.namespace)
        assert member is not None
        return Passage(member, event, request_id, self._access)


class Passage:
    """One event on its way through: leaves an acknowledgement, a count and a line behind."""

    __slots__ = ("_access", "_event", "_request_id", "_start", "ack", "member", "outcome")

    def __init__(
        self, member: Member, event: ClientEvent, request_id: str, access: AccessLog
    ) -> None:
        self._start = time.perf_counter()
        self._event = event
        self._request_id = request_id
        self._access = access
        self.member = member
        self.outcome = "ok"
        self.ack: dict[str, Any] = {}

    @property
    def user_id(self) -> str:
        return guest_of(self.member).user_id

    def acknowledge(self, answer: Message) -> None:
        self.ack = {"ok": True, **plain(answer)}

    def __enter__(self) -> "Passage":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            fault = coded(error)
            self.outcome = fault.code.value
            self.ack = {"ok": False, "error": fault.body(self._request_id)}
            ERRORS.labels(door="socket", code=self.outcome).inc()
        elif error is not None:
            return False
        self._record(time.perf_counter() - self._start)
        return True

    def _record(self, seconds: float) -> None:
        event = self._event
        events, durations = _figures(event.namespace, event.name, self.outcome)
        events.inc()
        durations.observe(seconds)
        room = self.ack.get("room")
        self._access.event(
            namespace=event.namespace,
            event=event.name,
            outcome=self.outcome,
            seconds=seconds,
            sid=self.member.sid,
            userId=self.user_id,
            **({"room": room} if isinstance(room, str) else {}),
        )


@cache
def _figures(namespace: str, name: str, outcome: str) -> tuple[Counter, Histogram]:
    """Kept, as a look-up by labels costs more than the counting; all three lists are closed."""
    events = SOCKET_EVENTS.labels(namespace=namespace, event=name, outcome=outcome)
    return events, SOCKET_EVENT_DURATION.labels(namespace=namespace, event=name)


def _awaits(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function)


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
