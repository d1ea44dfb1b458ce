"""Errors as Sentry's events (S3-13): every line of level error, with the frames of its exception.

The library makes events and envelopes and watches for profiles; it sends nothing and patches
nothing, so no thread of it runs beside the sockets. What a line may not hold, an event may not
either: both pass the redactor, and frames come without the values of their variables.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import sentry_sdk
from sentry_sdk.consts import EndpointType
from sentry_sdk.envelope import Envelope
from sentry_sdk.profiler import start_profiler, stop_profiler
from sentry_sdk.transport import Transport
from sentry_sdk.utils import Dsn, event_from_exception

from hub.plumbing.telemetry.redaction import Redactor

if TYPE_CHECKING:
    from sentry_sdk.types import Event

_TAGS: Final = {"requestId": "request_id", "traceId": "trace_id", "service": "service"}


def envelopes_of(dsn: str) -> tuple[str, dict[str, str]]:
    """Where a project takes envelopes, and the headers of a call."""
    auth = Dsn(dsn).to_auth("dongne/1")
    headers = {
        "Content-Type": "application/x-sentry-envelope",
        "X-Sentry-Auth": auth.to_header(),
    }
    return auth.get_api_url(EndpointType.ENVELOPE), headers


class _Handed(Transport):
    """Hands envelopes on, whoever sends them; profiles come from a thread of their own."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__({})
        self._put = put

    def capture_envelope(self, envelope: Envelope) -> None:
        self._put(envelope.serialize())


class Sentry:
    """`put` takes an envelope, from any thread, and never waits. `profiles_rate`: how likely this
    process is watched by the library's profiler, a thread that looks at the stack a hundred times a
    second.
    """

    def __init__(
        self,
        dsn: str,
        put: Callable[[bytes], None],
        *,
        environment: str,
        release: str,
        profiles_rate: float = 0.0,
    ) -> None:
        sentry_sdk.init(
            dsn=dsn,
            transport=_Handed(put),
            environment=environment,
            release=release,
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            send_client_reports=False,
            profile_session_sample_rate=profiles_rate,
            profile_lifecycle="manual",
            include_local_variables=False,
        )
        if profiles_rate:
            start_profiler()

    def report(
        self, line: Mapping[str, Any], error: BaseException | None, redactor: Redactor
    ) -> None:
        """`line` has passed the redactor."""
        event: dict[str, Any] = {}
        if error is not None:
            made, _ = event_from_exception(error, client_options=sentry_sdk.get_client().options)
            event.update(made)
            for one in event["exception"]["values"]:
                one["value"] = redactor.text(str(one["value"]))
        fields = {key: str(value) for key, value in line.items() if not key.startswith("_")}
        event |= {
            "level": "error",
            "logger": fields.pop("logger", ""),
            "logentry": {"message": fields.pop("event", "")},
            "tags": {tag: fields.pop(name) for name, tag in _TAGS.items() if name in fields},
            "extra": fields,
        }
        sentry_sdk.capture_event(cast("Event", event))

    def close(self) -> None:
        stop_profiler()
        sentry_sdk.get_client().close(timeout=0)
