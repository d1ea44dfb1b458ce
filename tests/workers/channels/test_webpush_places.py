"""Where a browser's end point may lead: a push service, at a public address, and nowhere else."""

import asyncio
import json
import socket
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hub.plumbing.http.outbound import Outbound, PushServices
from protocol.web_push import read_subscription, to_base64url
from tests.fakes.webpush import Browser, FakePushService
from tests.workers.channels.conftest import MakeWebPushSender, browser, push
from workers.channels.message import Recipient
from workers.channels.outcome import Permanent, Temporary


def endpoint(url: str) -> Recipient:
    key = ec.generate_private_key(ec.SECP256R1())
    keys = {"p256dh": to_base64url(Browser(key, b"", "").point()), "auth": to_base64url(b"a" * 16)}
    return browser(json.dumps({"endpoint": url, "keys": keys}))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "127.1", "2130706433"],
)
@pytest.mark.refused
async def test_no_end_point_leads_back_inside(
    push_service: FakePushService, webpush_sender: MakeWebPushSender, host: str
) -> None:
    """Even where the operator's own list names it: only OUTBOUND_ALLOW opens the way."""
    port = push_service.url.rpartition(":")[2]
    services = PushServices((host.strip("[]"),), Outbound())
    outcome = await webpush_sender(services).send(endpoint(f"https://{host}:{port}/push/x"), push())
    assert outcome in (Permanent("bad_address"), Temporary("unreachable"))
    assert push_service.asked == 0


@pytest.mark.refused
async def test_what_is_connected_to_is_what_was_looked_at(
    push_service: FakePushService,
    webpush_sender: MakeWebPushSender,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that is public when it is asked first, and ours a moment later."""
    port = int(push_service.url.rpartition(":")[2])
    asked: list[str] = []
    loop = asyncio.get_running_loop()

    async def rebinding(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", rebinding, raising=False)
    services = PushServices(("push.example",), Outbound())
    outcome = await webpush_sender(services).send(
        endpoint(f"https://push.example:{port}/push/x"), push()
    )
    assert outcome == Permanent("bad_address")
    assert asked == ["push.example"]
    assert push_service.asked == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/push",
        "https://fcm.googleapis.com.evil.example/push",
        "https://evilpush.apple.com/x",
        "https://push.apple.com/x",
        "http://fcm.googleapis.com/fcm/send/x",
    ],
)
@pytest.mark.refused
async def test_only_the_named_push_services_get_anything(
    webpush_sender: MakeWebPushSender, url: str
) -> None:
    outcome = await webpush_sender(PushServices()).send(endpoint(url), push())
    assert outcome == Permanent("bad_address")


@pytest.mark.parametrize(
    "url",
    [
        "https://fcm.googleapis.com/fcm/send/abc",
        "https://updates.push.services.mozilla.com/wpush/v2/abc",
        "https://web.push.apple.com/QAbc",
        "https://wns2-par02p.notify.windows.com/w/?token=abc",
        "https://FCM.googleapis.com./fcm/send/abc",
    ],
)
def test_the_browsers_push_services_are_known(url: str) -> None:
    assert PushServices().take(read_subscription(endpoint(url).address))


@pytest.mark.parametrize("text", ["", "token", "{}", "[]", '{"endpoint":"x"}', "{" * 5000])
async def test_a_token_that_is_no_subscription_goes_nowhere(
    webpush_sender: MakeWebPushSender, text: str
) -> None:
    assert await webpush_sender().send(browser(text), push()) == Permanent("bad_address")
