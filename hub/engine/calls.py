"""Calling handlers: at once where a handler is a plain function; where it awaits, in the
member's own queue, so that what one client sends is handled in order while pongs,
acknowledgements and other members are not held up."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import orjson

from .packets import ACK, DEFAULT, encode, prefix_of
from .rooms import GONE, HELD, LEAVING, LIVE, Jobs, Member
from .telemetry import count

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("hub.engine")

LEAVE = -(2**64)
"""In place of an ack id: this call is the disconnect handler. No packet can hold such a number."""

REFUSED: Final = object()
"""In place of an event's name, before it and the fault: it is answered and reaches no handler."""


class Refused(Exception):
    """An event the engine did not take; the text is the counter's label."""


Failed = Callable[[Member, str, Exception | None], Any]
"""What to acknowledge when a handler raised, the engine refused an event (Refused), or (None) when
an event has no handler."""


class Calls:
    """``gone(member)`` is called when a member's disconnect handler has run."""

    def __init__(self, server: Server, gone: Callable[[Member], None]) -> None:
        self._server = server
        self._gone = gone
        self._not_handled = server.not_handled
        self._takes_auth: dict[Any, bool] = {}
        self._tasks: set[Any] = set()

    # events

    def event(self, member: Member, number: int | None, args: list[Any], size: int) -> None:
        """Handle it now, or after what the member sent before; ``size`` is its bytes."""
        jobs = member.jobs
        if jobs is None:
            if member.state == LIVE:
                self._invoke(member, number, args)
        elif member.state <= LIVE:
            weight = 1 + size // 1024
            jobs.append((number, args, weight))
            member.link.queue(weight)

    def leave(self, member: Member, reason: str) -> None:
        """Call the disconnect handler once what runs for the member has ended; what waits does
        not run any more."""
        if member.jobs is not None:
            waiting = sum(weight for _, _, weight in member.jobs)
            member.jobs.clear()
            member.jobs.append((LEAVE, ["disconnect", reason], 0))
            member.link.unqueue(waiting)
        else:
            self._invoke(member, LEAVE, ["disconnect", reason])

    def _invoke(self, member: Member, number: int | None, args: list[Any]) -> None:
        result = self._call(member, number, args)
        if type(result) is CoroutineType:
            self.begin(member, self._finish(member, number, args[0], result))
        else:
            self._answer(member, number, args[0], result)

    def _call(self, member: Member, number: int | None, args: list[Any]) -> Any:
        """The handler's result; a coroutine when it awaits."""
        server, name = self._server, member.namespace.name
        if "_trigger_event" in server.__dict__ and args[0] is not REFUSED:  # instrumented
            return server._trigger_event(args[0], name, member.sid, *args[1:])
        handlers = server.handlers.get(name)
        handler = handlers.get(args[0]) if handlers is not None else None
        if handler is None:
            return self._call_other(member, number, args)
        try:
            return handler(member.sid, *args[1:])
        except Exception as error:
            if number == LEAVE and isinstance(error, TypeError):
                return self._call_legacy_disconnect(member, handler)
            return self._failed(member, args[0], error)

    def _call_other(self, member: Member, number: int | None, args: list[Any]) -> Any:
        """Catch-all handlers, namespace classes, nobody."""
        if args[0] is REFUSED:
            return self._failed(member, args[1], Refused(args[2]))
        name = member.namespace.name
        if self._other(name, args[0]):
            return self._server._trigger_event(args[0], name, member.sid, *args[1:])
        return None if number == LEAVE else self._failed(member, args[0], None)

    def _other(self, namespace: str, event: str = "connect") -> bool:
        """Whether the library knows a handler that is not attached by the event's name."""
        handler, _ = self._server._get_event_handler(event, namespace, ())
        if handler is None:
            handler, _ = self._server._get_namespace_handler(namespace, ())
        return handler is not None

    def _call_legacy_disconnect(self, member: Member, handler: Any) -> Any:
        """A disconnect handler without the reason."""
        try:
            return handler(member.sid)
        except Exception as error:
            return self._failed(member, "disconnect", error)

    async def _finish(
        self, member: Member, number: int | None, event: str, result: Coroutine[Any, Any, Any]
    ) -> None:
        answer: Any
        try:
            answer = await result
        except Exception as error:
            answer = self._failed(member, event, error)
        else:
            if answer is self._not_handled:
                answer = self._failed(member, event, None)
        self._answer(member, number, event, answer)

    def _failed(self, member: Member, event: str, error: Exception | None) -> Any:
        server = self._server
        if isinstance(error, Refused):
            count(server.eio.counters.rejected, str(error))
        elif error is not None:
            log.error("handler of an event failed", exc_info=error)
            count(server.eio.counters.rejected, "handler_error")
        if server.failed is not None and (event != "disconnect" or isinstance(error, Refused)):
            return server.failed(member, event, error)
        return self._not_handled

    def _answer(self, member: Member, number: int | None, event: str, answer: Any) -> None:
        if number is None:
            return
        if number == LEAVE:
            self._gone(member)
            return
        if answer is self._not_handled or member.state >= LEAVING:
            return
        if answer is None:
            data: list[Any] = []
        else:
            data = list(answer) if type(answer) is tuple else [answer]
        member.namespace.flush_before(member)
        try:
            acknowledge(member, number, data)
        except Exception as error:
            self._failed(member, event, error)

    # queues

    def begin(self, member: Member, first: Coroutine[Any, Any, None]) -> None:
        """Run ``first`` and then, one by one, what the member sends meanwhile."""
        member.jobs = deque()
        self.task(self._work(member, member.jobs, first))

    async def _work(
        self,
        member: Member,
        jobs: Jobs,
        first: Coroutine[Any, Any, None],
    ) -> None:
        await first
        while jobs:
            number, args, weight = jobs.popleft()
            member.link.unqueue(weight)
            if member.state in (HELD, GONE):
                continue
            result = self._call(member, number, args)
            if type(result) is CoroutineType:
                await self._finish(member, number, args[0], result)
            else:
                self._answer(member, number, args[0], result)
        member.jobs = None

    def task(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # connect

    def connect(self, member: Member, auth: Any) -> Any:
        """What the connect handler gives; an awaitable when it awaits."""
        server, name = self._server, member.namespace.name
        environ = member.link.environ
        handler = server.handlers.get(name, {}).get("connect")
        if "_trigger_event" in server.__dict__ or (handler is None and self._other(name)):
            return self._connect_by_library(name, member.sid, environ, auth)
        if handler is None:
            return None
        takes_auth = self._takes_auth.get(handler)
        if takes_auth is None:
            takes_auth = self._takes_auth[handler] = _takes_three(handler)
        if takes_auth:
            return handler(member.sid, environ, auth)
        return handler(member.sid, environ)

    async def _connect_by_library(self, name: str, sid: str, environ: Any, auth: Any) -> Any:
        """As the library tries it: the handler may have no parameter for the payload."""
        trigger = self._server._trigger_event
        try:
            return await trigger("connect", name, sid, environ, auth)
        except TypeError:
            if auth is not None:
                raise
            return await trigger("connect", name, sid, environ)


def acknowledge(member: Member, number: int, data: list[Any]) -> None:
    """Write an ACK packet. Raises TypeError and Untellable as ``encode`` does."""
    link, name = member.link, member.namespace.name
    if link.codec == DEFAULT:
        try:
            body = orjson.dumps(data)
        except TypeError:
            pass
        else:
            link.send_text(b"43%s%d%s" % (prefix_of(name), number, body))
            return
    link.send_parts(encode(link.codec, ACK, name, number, data))


def _takes_three(handler: Callable[..., Any]) -> bool:
    try:
        inspect.signature(handler).bind(None, None, None)
    except TypeError:
        return False
    return True
