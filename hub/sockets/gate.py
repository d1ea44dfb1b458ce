"""The one gate of every client event: limit, form, act, acknowledge, count, log.

Whatever goes wrong behind it becomes a coded answer here and nowhere else.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from hub.engine import Member, NotTaken, Server, reasons
from hub.plumbing.limits.fleet import Verdict
from hub.plumbing.stores import redis_client
from hub.plumbing.stores.postgres import AWAY
from hub.plumbing.telemetry import trace
from hub.plumbing.telemetry.logs import AccessLog
from hub.plumbing.telemetry.metrics import ERRORS, SOCKET_EVENTS, UNKNOWN
from hub.sockets.guest import Guest, guest_of
from protocol.errors import Code, HubError, invalid, unavailable
from protocol.events import ClientEvent
from protocol.events.row import Empty, Ok
from protocol.payload import Message, plain, read

Check = Callable[[ClientEvent, str], Awaitable[Verdict]]
"""Counts an event of a person. Whether it is allowed, and how long to wait otherwise."""

Act = Callable[[Member, Any], Message | Awaitable[Message]]
"""Acts on one event: member, payload. Raises HubError."""

Handle = Callable[..., Any]

DONE: Final = "ok"

OURS: Final = frozenset({DONE, Code.UNAVAILABLE, Code.SHUTTING_DOWN, Code.INTERNAL})
"""Outcomes that are no fault of the sender's."""

REFUSED_AT_MOST: Final = 100
REFUSED_WINDOW_S: Final = 10.0
"""Refused events of one socket in a window before its transport is closed. Whoever stays within the
limits of the table cannot reach it: the default is as many events in the same time."""

log = structlog.get_logger(__name__)


class Gate:
    """`refused_at_most` is how many refused events in REFUSED_WINDOW_S cost a sender its
    transport.
    """

    def __init__(
        self,
        server: Server,
        check: Check,
        access: AccessLog,
        refused_at_most: int = REFUSED_AT_MOST,
    ) -> None:
        self._server = server
        self._check = check
        self._access = access
        self._refused_at_most = refused_at_most
        server.hooks.failed = self._failed

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
            with trace.traced(name=event.name) as work:
                try:
                    _allow(await self._check(event, guest_of(member).user_id))
                    if act is None:
                        raise invalid("There is no such event.")
                    answer = act(member, read(_payload(args), event.payload))
                    ack = _done(await answer if inspect.isawaitable(answer) else answer)
                    outcome = DONE
                except Exception as error:
                    ack, outcome = _refused(error, work)
                if work.started_ns:
                    work.note({"outcome": outcome}, "" if outcome == DONE else outcome)
                self._record(member, event, ack, outcome, start)
            return ack

        return handle

    def _failed(self, member: Member, _name: str, error: Exception | None) -> dict[str, Any]:
        """What the engine refused before any handler (it nests too deep, say), and what failed."""
        start = time.perf_counter()
        event = ClientEvent(UNKNOWN, Empty, Ok, member.namespace.name)
        with trace.traced() as work:
            fault = error is None or isinstance(error, NotTaken)
            told = invalid("The event cannot be read.") if fault else HubError(Code.INTERNAL)
            ack, outcome = _refused(told, work)
            self._record(member, event, ack, outcome, start)
        return ack

    def _member(self, sid: str, event: ClientEvent) -> Member:
        member = self._server.member(sid, event.namespace)
        assert member is not None
        return member

    def _record(
        self, member: Member, event: ClientEvent, ack: dict[str, Any], outcome: str, start: float
    ) -> None:
        seconds = time.perf_counter() - start
        SOCKET_EVENTS.count((event.namespace, event.name, outcome), seconds)
        if outcome not in OURS:
            self._charge(member, guest_of(member))
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

    def _charge(self, member: Member, guest: Guest) -> None:
        """A refused event costs its sender: after so many the transport is closed, once the last
        answer has gone out. The client comes back, and has to be let in again."""
        now = time.monotonic()
        if now - guest.refused_since > REFUSED_WINDOW_S:
            guest.refused, guest.refused_since = 0, now
        guest.refused += 1
        if guest.refused == self._refused_at_most + 1:
            loop = asyncio.get_running_loop()
            loop.call_soon(member.link.end, reasons.REFUSED_TOO_OFTEN, 1008)


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
    if isinstance(error, (*redis_client.AWAY, *AWAY)):
        return unavailable()
    log.error("a call on a socket failed", exc_info=error)
    return HubError(Code.INTERNAL)
