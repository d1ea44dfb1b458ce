"""Pushes over real HTTP to a local push service, read by a browser that decrypts by itself."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from hub.plumbing.http.outbound import Outbound, PushServices
from hub.plumbing.life.clock import VirtualClock
from protocol.web_push import (
    Subscription,
    from_base64url,
    public_text,
    read_subscription,
    read_vapid_key,
    to_base64url,
)
from tests.fakes.script import Fault
from tests.fakes.webpush import Browser, FakePushService
from tests.tls import self_signed, serving
from tests.workers.channels.conftest import push, soon, to
from workers.channels.message import Recipient
from workers.channels.outcome import About, Expired, Outcome, Permanent, Sent, Temporary
from workers.channels.push import topic
from workers.channels.webpush.answers import STATUSES, classify
from workers.channels.webpush.encryption import PLAIN_BYTES, encrypt
from workers.channels.webpush.message import webpush_headers, webpush_payload
from workers.channels.webpush.sender import WebPushSender
from workers.channels.webpush.vapid import Vapid

WAIT = 5.0
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = to_base64url(bytes(range(1, 33)))
VAPID = Vapid(read_vapid_key(KEY), "mailto:people@dongne.example")
LOCAL = PushServices(("127.0.0.1", "localhost"), Outbound(["127.0.0.0/8"]))

MakeSender = Callable[..., WebPushSender]


@pytest.fixture
async def service() -> AsyncIterator[FakePushService]:
    async with FakePushService() as fake:
        yield fake


@pytest.fixture
async def make() -> AsyncIterator[MakeSender]:
    made: list[WebPushSender] = []

    def make(services: PushServices = LOCAL, **options: Any) -> WebPushSender:
        made.append(WebPushSender(VAPID, services, **{"timeout_s": WAIT} | options))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


def browser(subscription: str) -> Recipient:
    return to(subscription, "web")


async def test_a_browser_reads_what_was_sent(service: FakePushService, make: MakeSender) -> None:
    id, subscription = service.subscribe(VAPID.public_key)
    message = push(deadline_at=soon(120))
    assert await make().send(browser(subscription), message) == Sent("")
    received = await service.next_message(WAIT)
    assert received["id"] == id
    assert received["payload"] == {
        "notification": {"title": message.title, "body": message.body, "tag": topic("q-1")},
        "data": {
            "notificationId": message.notification_id,
            "kind": "question_urgent",
            "questionId": "q-1",
            "unread": "3",
            "url": message.url,
            "deadlineAt": received["payload"]["data"]["deadlineAt"],
        },
    }
    headers = received["headers"]
    assert headers["TTL"] in {"119", "118"}
    assert (headers["Urgency"], headers["Topic"]) == ("high", topic("q-1"))


async def test_nobody_else_reads_it(service: FakePushService, make: MakeSender) -> None:
    _, subscription = service.subscribe(VAPID.public_key)
    sealed = encrypt(b"secret", read_subscription(subscription))
    other = Browser(ec.generate_private_key(ec.SECP256R1()), b"0" * 16, "")
    with pytest.raises(InvalidTag):
        other.read(sealed)
    assert b"secret" not in sealed


def test_the_example_of_rfc_8291_is_encrypted_byte_for_byte() -> None:
    """RFC 8291 §5 and appendix A."""
    subscription = Subscription(
        "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
        from_base64url(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcx"
            "aOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
        ),
        from_base64url("BTBZMqHH6r4Tts7J_aSIgg"),
    )
    private = int.from_bytes(from_base64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big")
    key = ec.derive_private_key(private, ec.SECP256R1())
    salt = from_base64url("DGv6ra1nlYgDCS1FRnbzlw")
    sealed = encrypt(b"When I grow up, I want to be a watermelon", subscription, key=key, salt=salt)
    assert to_base64url(sealed) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


async def test_the_same_text_twice_is_never_the_same_bytes(service: FakePushService) -> None:
    subscription = read_subscription(service.subscribe(VAPID.public_key)[1])
    one, other = encrypt(b"text", subscription), encrypt(b"text", subscription)
    assert one[:16] != other[:16]
    assert one[21:86] != other[21:86]


def test_a_payload_that_does_not_fit_is_not_sent() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    to = Subscription("https://x", Browser(key, b"", "").point(), b"a" * 16)
    assert len(encrypt(b"x" * PLAIN_BYTES, to)) == 4096
    with pytest.raises(ValueError, match="too long"):
        encrypt(b"x" * (PLAIN_BYTES + 1), to)


ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)


@given(
    title=st.text(max_size=2000),
    body=st.text(max_size=5000),
    collapse_id=ids,
    question_id=st.none() | ids,
    answer_id=st.none() | ids,
    url=st.text(max_size=3000).map(lambda path: "https://dongne.example/" + path),
    left=st.none() | st.integers(1, 10**9),
)
def test_whatever_people_write_fits(left: int | None, **fields: Any) -> None:
    deadline = None if left is None else NOW + timedelta(seconds=left)
    message = push(deadline_at=deadline, **fields)
    assert len(webpush_payload(message)) <= PLAIN_BYTES
    headers = webpush_headers(message, NOW)
    assert 1 <= int(headers["TTL"]) <= 2_419_200
    assert len(headers["Topic"]) == 32


@pytest.mark.parametrize("left", [-5.0, 0.0, 0.9])
async def test_under_a_second_left_nothing_leaves(
    service: FakePushService, make: MakeSender, left: float
) -> None:
    _, subscription = service.subscribe(VAPID.public_key)
    late = push(deadline_at=soon(left))
    assert await make().send(browser(subscription), late) == Expired()
    assert service.asked == 0


async def test_over_tls_with_a_certificate_that_is_checked(
    tmp_path: Path, make: MakeSender
) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    trusting = ssl.create_default_context(cafile=str(certificate))
    tls = serving(certificate, key)
    async with FakePushService(tls=tls, host="localhost") as service:
        _, subscription = service.subscribe(VAPID.public_key)
        assert await make(tls=trusting).send(browser(subscription), push()) == Sent("")
        refused = await make().send(browser(subscription), push())
        assert refused == Temporary("unreachable")
        assert service.asked == 1


async def test_a_subscription_that_ended_is_pruned(
    service: FakePushService, make: MakeSender
) -> None:
    id, subscription = service.subscribe(VAPID.public_key)
    service.gone.add(id)
    assert await make().send(browser(subscription), push()) == Permanent(
        "http_410", token_dead=True
    )
    del service.browsers[id]
    assert await make().send(browser(subscription), push()) == Permanent(
        "http_404", token_dead=True
    )


async def test_a_key_that_was_not_subscribed_with_is_ours_to_mend(
    service: FakePushService, make: MakeSender
) -> None:
    other = Vapid(read_vapid_key(to_base64url(b"\x02" * 32)), "https://dongne.example")
    _, subscription = service.subscribe(other.public_key)
    outcome = await make().send(browser(subscription), push())
    assert outcome == Temporary("http_403", about=About.US)


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (400, {}, Permanent("http_400")),
        (401, {}, Temporary("http_401", about=About.US)),
        (413, {}, Permanent("http_413")),
        (429, {"Retry-After": "30"}, Temporary("http_429", 30.0, About.RECIPIENT)),
        (500, {}, Temporary("http_500")),
        (503, {"Retry-After": "7"}, Temporary("http_503", 7.0)),
    ],
)
async def test_answers_that_come_over_the_wire(
    service: FakePushService,
    make: MakeSender,
    status: int,
    headers: dict[str, str],
    outcome: Outcome,
) -> None:
    _, subscription = service.subscribe(VAPID.public_key)
    body = {"reason": "text of theirs"}
    service.arm(Fault("push", status=status, headers=headers, body=body))
    assert await make().send(browser(subscription), push()) == outcome


async def test_no_redirect_is_followed(service: FakePushService, make: MakeSender) -> None:
    for status in (301, 302, 303, 307, 308):
        id, subscription = service.subscribe(VAPID.public_key)
        headers = {"Location": f"{service.url}/push/{id}"}
        service.arm(Fault("push", status=status, headers=headers))
        outcome = await make().send(browser(subscription), push())
        assert outcome == Permanent(f"http_{status}")
    assert service.asked == 5
    assert service.received == []


@pytest.mark.parametrize("action", ["close", "die"])
async def test_a_push_service_that_goes_is_unreachable(
    service: FakePushService, make: MakeSender, action: Any
) -> None:
    _, subscription = service.subscribe(VAPID.public_key)
    service.arm(Fault("push", action=action))
    sender = make()
    assert await sender.send(browser(subscription), push()) == Temporary("unreachable")
    await service.stop()
    await service.start()
    assert await sender.send(browser(subscription), push()) == Sent("")


async def test_half_an_answer_with_a_status_is_an_answer(
    service: FakePushService, make: MakeSender
) -> None:
    _, subscription = service.subscribe(VAPID.public_key)
    service.arm(Fault("push", action="half", status=201, taken=True))
    assert await make().send(browser(subscription), push()) == Sent("")
    assert len(service.received) == 1


async def test_one_that_hangs_costs_the_time_out_and_no_more(
    service: FakePushService, make: MakeSender
) -> None:
    _, subscription = service.subscribe(VAPID.public_key)
    service.arm(Fault("push", action="hang"))
    async with asyncio.timeout(WAIT):
        outcome = await make(timeout_s=0.3).send(browser(subscription), push())
    assert outcome == Temporary("timeout")


# Where it may go


def endpoint(url: str) -> Recipient:
    key = ec.generate_private_key(ec.SECP256R1())
    keys = {"p256dh": to_base64url(Browser(key, b"", "").point()), "auth": to_base64url(b"a" * 16)}
    return browser(json.dumps({"endpoint": url, "keys": keys}))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "127.1", "2130706433"],
)
async def test_no_end_point_leads_back_inside(
    service: FakePushService, make: MakeSender, host: str
) -> None:
    """Even where the operator's own list names it: only OUTBOUND_ALLOW opens the way."""
    port = service.url.rpartition(":")[2]
    services = PushServices((host.strip("[]"),), Outbound())
    outcome = await make(services).send(endpoint(f"https://{host}:{port}/push/x"), push())
    assert outcome in (Permanent("bad_address"), Temporary("unreachable"))
    assert service.asked == 0


async def test_what_is_connected_to_is_what_was_looked_at(
    service: FakePushService, make: MakeSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is asked first, and ours a moment later."""
    port = int(service.url.rpartition(":")[2])
    asked: list[str] = []
    loop = asyncio.get_running_loop()

    async def rebinding(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", rebinding, raising=False)
    services = PushServices(("push.example",), Outbound())
    outcome = await make(services).send(endpoint(f"https://push.example:{port}/push/x"), push())
    assert outcome == Permanent("bad_address")
    assert asked == ["push.example"]
    assert service.asked == 0


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
async def test_only_the_named_push_services_get_anything(make: MakeSender, url: str) -> None:
    outcome = await make(PushServices()).send(endpoint(url), push())
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
async def test_a_token_that_is_no_subscription_goes_nowhere(make: MakeSender, text: str) -> None:
    assert await make().send(browser(text), push()) == Permanent("bad_address")


# VAPID


def test_a_vapid_token_is_kept_for_half_of_its_life_for_each_push_service() -> None:
    clock = VirtualClock(NOW)
    one, other = "https://a.example", "https://b.example:8443"
    first = VAPID.authorization(one, clock.now())
    assert VAPID.authorization(one, clock.advance(6 * 3600 - 1)) == first
    second = VAPID.authorization(one, clock.advance(1))
    assert second != first
    assert VAPID.authorization(other, clock.now()) != second
    token = second.removeprefix("vapid t=").partition(",")[0]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims == {
        "aud": one,
        "exp": int(clock.now().timestamp()) + 12 * 3600,
        "sub": "mailto:people@dongne.example",
    }


@pytest.mark.parametrize(
    "key", ["s3cret", "", to_base64url(b"\0" * 32), to_base64url(b"\xff" * 32)]
)
def test_an_unusable_key_is_named_and_never_shown(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        read_vapid_key(key)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_public_key_is_the_point_that_browsers_subscribe_with() -> None:
    assert VAPID.public_key == public_text(read_vapid_key(KEY + "="))
    assert from_base64url(VAPID.public_key)[0] == 4
    assert len(from_base64url(VAPID.public_key)) == 65


async def test_no_secret_stands_in_what_is_printed(
    service: FakePushService, make: MakeSender
) -> None:
    _, subscription = service.subscribe(VAPID.public_key)
    sender = make()
    await sender.send(browser(subscription), push())
    shown = repr(sender) + repr(VAPID) + repr(browser(subscription))
    shown += repr(read_subscription(subscription))
    assert KEY not in shown
    assert "/push/" not in shown


# The table


def test_every_documented_status_says_what_to_do() -> None:
    assert {status for status, act in STATUSES.items() if act.value == "prune"} == {404, 410}
    assert {status for status, act in STATUSES.items() if act.value == "pause"} == {406, 429}
    alarms = {status for status, act in STATUSES.items() if act.value == "alarm"}
    assert alarms == {401, 403, 405, 501}


@given(status=st.integers(203, 599), wait=st.none() | st.text(max_size=40))
def test_no_answer_breaks_the_table(status: int, wait: str | None) -> None:
    outcome = classify(status, {} if wait is None else {"Retry-After": wait}, NOW)
    assert isinstance(outcome, Temporary | Permanent)
    assert outcome.code == f"http_{status}"
    dead = isinstance(outcome, Permanent) and outcome.token_dead
    assert dead is (status in {404, 410})


@given(st.binary(max_size=100))
def test_base64url_is_read_back_in_all_its_forms(raw: bytes) -> None:
    assert from_base64url(to_base64url(raw)) == raw
    assert from_base64url(base64.b64encode(raw).decode()) == raw
    assert from_base64url(base64.urlsafe_b64encode(raw).decode()) == raw
