"""Calling handlers: at once where a handler is a plain function; where it awaits, in the
member's own queue, so that what one client sends is handled in order while pongs,
acknowledgements and other members are not held up."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import Any, Final

import socketio
import structlog

from hub.engine.face.hooks import Hooks, NotTaken
from hub.engine.rooms.member import GONE, HELD, LEAVING, LIVE, Jobs, Member
from hub.engine.session.link import Link
from hub.engine.session.telemetry import Counters, count

log = structlog.get_logger(__name__)

LEAVE = -(2**64)
"""In place of an ack id: this call is the disconnect handler. No packet can hold such a number."""

REFUSED: Final = object()
"""In place of an event's name, before it and the fault: it is answered and reaches no handler."""


class Calls:
    """The handlers are attached at `server`, the library's; `gone(member)` is called when a
    member's disconnect handler has run."""

    def __init__(
        self,
        server: socketio.AsyncServer,
        hooks: Hooks,
        counters: Counters,
        gone: Callable[[Member], None],
    ) -> None:
        self._server = server
        self._hooks = hooks
        self._counters = counters
        self._gone = gone
        self._takes_auth: dict[Any, bool] = {}
        self._tasks: set[Any] = set()

    # Events.

    def event(self, member: Member, number: int | None, args: list[Any], size: int) -> None:
        """Handle it now, or after what the member sent before; `size` is its bytes."""
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
            return self._failed(member, args[1], NotTaken(args[2]))
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
            if answer is self._server.not_handled:
                answer = self._failed(member, event, None)
        self._answer(member, number, event, answer)

    def _failed(self, member: Member, event: str, error: Exception | None) -> Any:
        if isinstance(error, NotTaken):
            count(self._counters.rejected, str(error))
        elif error is not None:
            log.error("a handler failed", exc_info=error)
            count(self._counters.rejected, "handler_error")
        failed = self._hooks.failed
        if failed is not None and (event != "disconnect" or isinstance(error, NotTaken)):
            return failed(member, event, error)
        return self._server.not_handled

    def _answer(self, member: Member, number: int | None, event: str, answer: Any) -> None:
        if number is None:
            return
        if number == LEAVE:
            self._gone(member)
            return
        if answer is self._server.not_handled or member.state >= LEAVING:
            return
        if answer is None:
            data: list[Any] = []
        else:
            data = list(answer) if type(answer) is tuple else [answer]
        try:
            member.acknowledge(number, data)
        except Exception as error:
            self._failed(member, event, error)

    # Queues.

    def begin(self, member: Member, first: Coroutine[Any, Any, None]) -> None:
        """Run `first` and then, one by one, what the member sends meanwhile."""
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

    # Sessions, of which only `instrument()` wants to hear.

    def opened(self, link: Link) -> None:
        server = self._server
        if server.eio.handlers["connect"] != server._handle_eio_connect:
            self.task(server.eio._trigger_event("connect", link.sid, link.environ))

    def closed(self, link: Link, reason: str) -> None:
        server = self._server
        if server.eio.handlers["disconnect"] != server._handle_eio_disconnect:
            self.task(server.eio._trigger_event("disconnect", link.sid, reason))

    def task(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Connecting.

    def serves(self, namespace: str) -> bool:
        """Whether somebody has attached a handler there, or it was named at the start. A name
        that does not begin with / (msgpack can say one) is no namespace, above all not `*`."""
        server = self._server
        return namespace.startswith("/") and (
            namespace in server.handlers
            or namespace in server.namespace_handlers
            or server.namespaces == "*"
            or namespace in server.namespaces
        )

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


def _takes_three(handler: Callable[..., Any]) -> bool:
    try:
        inspect.signature(handler).bind(None, None, None)
    except TypeError:
        return False
    return True
