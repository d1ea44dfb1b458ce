"""Opens what is told to whoever watches from outside, where somebody is named who takes it."""

import asyncio
import os
import socket
from functools import partial
from typing import Final

import aiohttp

from hub.plumbing.http.courier import Courier
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry.logs import report_to
from hub.plumbing.telemetry.trace import record_to

SPANS_A_CALL: Final = 64
"""Packing so many takes about a millisecond of the loop."""

PROFILED: Final = frozenset({"api", "worker"})
"""Where a thread may compute beside the loop: never beside the sockets."""


async def open_reporting(life: Lifecycle, settings: Settings, role: str) -> None:
    """`role`: hub, api, worker or up. Imports what only this needs, only when it is needed."""
    part = settings.telemetry
    tracing = part.tracing_enabled and part.otlp_endpoint is not None
    if not tracing and part.sentry_dsn is None:
        return
    session = await life.enter(
        "reports", aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
    )
    if tracing:
        _open_spans(life, settings, role, session)
    if part.sentry_dsn is not None:
        _open_sentry(life, settings, role, session)


def _open_spans(
    life: Lifecycle, settings: Settings, role: str, session: aiohttp.ClientSession
) -> None:
    from hub.plumbing.telemetry.spans import Spans, packed

    part, process = settings.telemetry, settings.process
    resource = {
        "service.name": f"{process.service_name}-{role}",
        "service.version": process.app_version,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        "deployment.environment.name": settings.environment,
    }
    secret = part.otlp_headers.get_secret_value() if part.otlp_headers else ""
    pairs = (pair.partition("=") for pair in secret.split(",") if "=" in pair)
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    headers["Content-Type"] = "application/x-protobuf"
    courier = Courier(
        "spans",
        session,
        f"{part.otlp_endpoint}/v1/traces",
        headers,
        partial(packed, resource),
        SPANS_A_CALL,
    )
    life.on_stop("spans", courier.close)
    life.spawn("spans", courier.run())
    record_to(Spans(part.traces_sample_rate, courier.put))

    async def stop() -> None:
        record_to(None)

    life.on_stop("recording", stop)


def _open_sentry(
    life: Lifecycle, settings: Settings, role: str, session: aiohttp.ClientSession
) -> None:
    from hub.plumbing.telemetry.sentry import Sentry, envelopes_of

    part, process = settings.telemetry, settings.process
    assert part.sentry_dsn is not None
    dsn = part.sentry_dsn.get_secret_value()
    url, headers = envelopes_of(dsn)
    courier: Courier[bytes] = Courier("errors", session, url, headers, b"".join, 1)
    life.on_stop("errors", courier.close)
    life.spawn("errors", courier.run())
    loop = asyncio.get_running_loop()

    def put(envelope: bytes) -> None:
        loop.call_soon_threadsafe(courier.put, envelope)

    sentry = Sentry(
        dsn,
        put,
        environment=settings.environment,
        release=process.app_version,
        profiles_rate=part.profiles_sample_rate if role in PROFILED else 0.0,
    )
    report_to(sentry.report)

    async def stop() -> None:
        report_to(None)
        sentry.close()

    life.on_stop("reporting", stop)
