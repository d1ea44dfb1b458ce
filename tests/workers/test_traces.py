"""One urgent question is one trace: from the request to the write to sockets and to the push."""

from collections.abc import Mapping

import aiohttp

from hub.plumbing.http.reporting import open_reporting
from hub.plumbing.settings.settings import Settings
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.api.conftest import Door, serve
from tests.fakes.fcm import FakeFcm
from tests.fakes.watchers import FakeCollector
from tests.hub.sockets.conftest import JEJU, Connect, connect, running, settle_in
from workers.channels.provider import open_providers
from workers.runner import Pace, run_worker

__all__ = ["connect"]

REQUEST = "POST /api/v1/questions"
WRITE, PUSH = "write question:urgent", "send fcm"


async def test_an_urgent_question_is_one_trace_from_the_request_to_socket_and_push(
    environ: dict[str, str], fcm: FakeFcm, connect: Connect
) -> None:
    async with FakeCollector() as collector:
        settings = Settings.load(
            {
                **environ,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "TRACES_SAMPLE_RATE": "1",
            }
        )
        async with running(settings) as hub:
            await open_reporting(hub.life, settings, "up")
            providers = await open_providers(hub.life, settings.channels)
            await run_worker(hub.life, settings, hub.domain, providers, Pace())
            for person in ("connected", "away"):
                await settle_in(hub, person)
            await verbs.add_device(
                hub.domain, "away", DeviceRequest(platform="android", token="token-away")
            )
            client = await connect(hub, "connected")
            server, url = await serve(hub.domain, settings)
            async with aiohttp.ClientSession() as http:
                door = Door(url, hub.domain, http, "")
                lat, lng = JEJU
                asked = await door.ask(urgency="urgent", lat=lat, lng=lng)
            alert = await client.next("question:urgent")
            assert alert["questionId"] == asked["id"]
            push = await fcm.next_message(10)
            await collector.wait(lambda: all(map(collector.named, (REQUEST, WRITE, PUSH))), 10)
            await server.close()
    spans = {span["span"]: span for span in collector.received}
    (request,) = collector.named(REQUEST)
    (write,) = collector.named(WRITE)
    (sent,) = collector.named(PUSH)
    assert request["parent"] == ""
    assert request["facts"]["http.response.status_code"] == 201
    assert sent["facts"]["outcome"] == "Sent"
    assert causes(spans, sent) == ["notification:urgent", "first-look", "urgent-wave", REQUEST]
    assert causes(spans, write) == [REQUEST]
    assert push["headers"]["X-B3-TraceId"] == request["trace"]
    assert push["headers"]["X-B3-SpanId"] == sent["span"]


def causes(spans: Mapping[str, Mapping[str, str]], span: Mapping[str, str]) -> list[str]:
    """The names of what caused a span, the first cause last."""
    found = []
    while span["parent"]:
        span = spans[span["parent"]]
        found.append(span["name"])
    return found
