"""Logs: one line an event to stdout, JSON in production and coloured text elsewhere (S1-36, S1-37).

`structlog.get_logger(__name__)` everywhere; lines of libraries take the same way. A line's first
argument is a fixed sentence, what varies goes into fields: the redactor judges fields by name.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor

from hub.plumbing.settings.process import Process
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry import trace
from hub.plumbing.telemetry.metrics import BUILD
from hub.plumbing.telemetry.redaction import Redactor

SLOW_S = 1.0
"""C06: a request slower than this is logged even where only errors are, at level warn."""

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_ACCESS = "access"
_CHATTY = ("asyncio", "aiohttp.access", "pgqueuer", "engineio", "socketio")
_REPEATING = ("asyncpg.pool",)
"""They say again and again, with a traceback, that a store is away; whoever needs it says it once
(hub.plumbing.lasting)."""

Report = Callable[[Mapping[str, Any], BaseException | None, Redactor], None]
"""Takes a line of level error, redacted, and its exception, which is not."""

_report: Report | None = None


def report_to(report: Report | None) -> None:
    """Of the whole process: who is told of lines of level error beside the log."""
    global _report
    _report = report


def configure(settings: Settings) -> None:
    """Send every log line of this process through the redactor to stdout. May be called again."""
    process = settings.process
    shared = _shared(process, Redactor(settings.secrets()))
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(process.log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[process.log_level])
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(_LEVELS[process.log_level], logging.INFO))
    for name in _REPEATING:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    BUILD.info({"version": process.app_version, "environment": process.app_env})


def _shared(process: Process, redactor: Redactor) -> list[Processor]:
    def whose(_logger: object, _method: str, line: EventDict) -> EventDict:
        work = trace.current()
        if work is not None:
            line.setdefault("requestId", work.request_id)
            line.setdefault("traceId", work.trace_id)
            line.setdefault("spanId", work.span_id)
        line["service"] = process.service_name
        line["version"] = process.app_version
        line["environment"] = process.app_env
        return line

    def reported(_logger: object, _method: str, line: EventDict) -> EventDict:
        if _report is not None and line.get("level") in ("error", "critical"):
            rest = {name: value for name, value in line.items() if name != "exc_info"}
            _report(redactor(None, "", rest), _exception(line.get("exc_info")), redactor)
        return line

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        whose,
        structlog.processors.StackInfoRenderer(),
        reported,
        _error if process.log_format == "json" else structlog.processors.format_exc_info,
        redactor,
    ]


def _error(_logger: object, _method: str, line: EventDict) -> EventDict:
    """`error: {name, message, stack}` in the place of exc_info (S1-39)."""
    error = _exception(line.pop("exc_info", None))
    if error is not None:
        stack = structlog.processors.format_exc_info(None, "", {"exc_info": error})["exception"]
        line["error"] = {"name": type(error).__name__, "message": str(error), "stack": stack}
    return line


def _exception(info: object) -> BaseException | None:
    """What `exc_info` stands for, in each of the ways in which it may be said."""
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    return error if isinstance(error, BaseException) else None


def _renderer(form: Literal["json", "text"]) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_dumps)
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: Any, method: str, line: EventDict) -> str:
        return _writable(console(logger, method, line))

    return render


def _dumps(line: EventDict, **_: Any) -> str:
    """A line must never be lost to what a stranger sent: bytes that are not UTF-8 reach us as lone
    surrogates, and orjson takes neither them nor integers over 64 bits.
    """
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return _writable(json.dumps(line, default=str, ensure_ascii=False, skipkeys=True))


def _writable(text: str) -> str:
    return text.encode(errors="replace").decode()


_OF_OUTCOME = {"INTERNAL": logging.ERROR, "UNAVAILABLE": logging.WARNING}


def _of_status(status: int) -> int:
    if status < 500:
        return logging.INFO
    return logging.WARNING if status == 503 else logging.ERROR


class AccessLog:
    """One line a request and one a socket event, as ACCESS_LOG says: all, errors or off (C06).

    A status of 500 and over is written where errors are. So are, at level warn, 503 and UNAVAILABLE
    (a store is away and says so itself, or a limit was reached, which any stranger can do) and what
    took longer than 1 s.
    The other lines are of level info: under LOG_LEVEL=warn there are none, whatever ACCESS_LOG is.
    """

    def __init__(self, mode: Literal["all", "errors", "off"]) -> None:
        self._mode = mode
        self._log = structlog.get_logger(_ACCESS)
        self._level = logging.getLogger(_ACCESS)

    def request(
        self, *, method: str, path: str, status: int, seconds: float, **more: object
    ) -> None:
        """S1-38; `path` without its query, and the route's pattern where it holds a token.

        More fields: userAgent, ip, userId.
        """
        level = self._of(_of_status(status), seconds)
        self._line("request", level, seconds, method=method, path=path, statusCode=status, **more)

    def wants_request(self, status: int, seconds: float) -> bool:
        """Whether such a request leaves a line; asked before its fields are gathered."""
        return self._wanted(self._of(_of_status(status), seconds))

    def event(
        self, *, namespace: str, event: str, outcome: str, seconds: float, **more: object
    ) -> None:
        """`outcome` is ok or an error code. More fields: room, sid, userId."""
        level = self._of(_OF_OUTCOME.get(outcome, logging.INFO), seconds)
        self._line("socket event", level, seconds, namespace=namespace, name=event,
                   outcome=outcome, **more)  # fmt: skip

    def wants_event(self, outcome: str, seconds: float) -> bool:
        """Whether such an event leaves a line; asked first where events are many."""
        return self._wanted(self._of(_OF_OUTCOME.get(outcome, logging.INFO), seconds))

    def _of(self, level: int, seconds: float) -> int:
        """`level`, or warn for what was slow; NOTSET where ACCESS_LOG wants no line."""
        if seconds > SLOW_S:
            level = max(level, logging.WARNING)
        wanted = self._mode == "all" or (self._mode == "errors" and level > logging.INFO)
        return level if wanted else logging.NOTSET

    def _wanted(self, level: int) -> bool:
        return level != logging.NOTSET and self._level.isEnabledFor(level)

    def _line(self, sentence: str, level: int, seconds: float, **fields: object) -> None:
        if self._wanted(level):
            self._log.log(level, sentence, duration=round(seconds * 1000, 1), **fields)
