"""Pushes over real HTTP to a local push service, read by a browser that decrypts by itself."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

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
from tests.workers.channels.conftest import (
    VAPID,
    VAPID_KEY,
    MakeWebPushSender,
    browser,
    push,
    soon,
)
from workers.channels.outcome import About, Expired, Outcome, Permanent, Sent, Temporary
from workers.channels.push import topic
from workers.channels.webpush.answers import STATUSES, classify
from workers.channels.webpush.encryption import PLAIN_BYTES, encrypt
from workers.channels.webpush.message import webpush_headers, webpush_payload
from workers.channels.webpush.vapid import Vapid

WAIT = 5.0
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


async def test_a_browser_reads_what_was_sent(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    id, subscription = push_service.subscribe(VAPID.public_key)
    message = push(deadline_at=soon(120))
    assert await webpush_sender().send(browser(subscription), message) == Sent("")
    received = await push_service.next_message(WAIT)
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


async def test_nobody_else_reads_it(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    _, subscription = push_service.subscribe(VAPID.public_key)
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


async def test_the_same_text_twice_is_never_the_same_bytes(push_service: FakePushService) -> None:
    subscription = read_subscription(push_service.subscribe(VAPID.public_key)[1])
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
    push_service: FakePushService, webpush_sender: MakeWebPushSender, left: float
) -> None:
    _, subscription = push_service.subscribe(VAPID.public_key)
    late = push(deadline_at=soon(left))
    assert await webpush_sender().send(browser(subscription), late) == Expired()
    assert push_service.asked == 0


async def test_over_tls_with_a_certificate_that_is_checked(
    tmp_path: Path, webpush_sender: MakeWebPushSender
) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    trusting = ssl.create_default_context(cafile=str(certificate))
    tls = serving(certificate, key)
    async with FakePushService(tls=tls, host="localhost") as push_service:
        _, subscription = push_service.subscribe(VAPID.public_key)
        assert await webpush_sender(tls=trusting).send(browser(subscription), push()) == Sent("")
        refused = await webpush_sender().send(browser(subscription), push())
        assert refused == Temporary("unreachable")
        assert push_service.asked == 1


async def test_a_subscription_that_ended_is_pruned(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    id, subscription = push_service.subscribe(VAPID.public_key)
    push_service.gone.add(id)
    assert await webpush_sender().send(browser(subscription), push()) == Permanent(
        "http_410", token_dead=True
    )
    del push_service.browsers[id]
    assert await webpush_sender().send(browser(subscription), push()) == Permanent(
        "http_404", token_dead=True
    )


async def test_a_key_that_was_not_subscribed_with_is_ours_to_mend(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    other = Vapid(read_vapid_key(to_base64url(b"\x02" * 32)), "https://dongne.example")
    _, subscription = push_service.subscribe(other.public_key)
    outcome = await webpush_sender().send(browser(subscription), push())
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
    push_service: FakePushService,
    webpush_sender: MakeWebPushSender,
    status: int,
    headers: dict[str, str],
    outcome: Outcome,
) -> None:
    _, subscription = push_service.subscribe(VAPID.public_key)
    body = {"reason": "text of theirs"}
    push_service.arm(Fault("push", status=status, headers=headers, body=body))
    assert await webpush_sender().send(browser(subscription), push()) == outcome


async def test_no_redirect_is_followed(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    for status in (301, 302, 303, 307, 308):
        id, subscription = push_service.subscribe(VAPID.public_key)
        headers = {"Location": f"{push_service.url}/push/{id}"}
        push_service.arm(Fault("push", status=status, headers=headers))
        outcome = await webpush_sender().send(browser(subscription), push())
        assert outcome == Permanent(f"http_{status}")
    assert push_service.asked == 5
    assert push_service.received == []


@pytest.mark.parametrize("action", ["close", "die"])
async def test_a_push_service_that_goes_is_unreachable(
    push_service: FakePushService, webpush_sender: MakeWebPushSender, action: Any
) -> None:
    _, subscription = push_service.subscribe(VAPID.public_key)
    push_service.arm(Fault("push", action=action))
    sender = webpush_sender()
    assert await sender.send(browser(subscription), push()) == Temporary("unreachable")
    await push_service.stop()
    await push_service.start()
    assert await sender.send(browser(subscription), push()) == Sent("")


async def test_half_an_answer_with_a_status_is_an_answer(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    _, subscription = push_service.subscribe(VAPID.public_key)
    push_service.arm(Fault("push", action="half", status=201, taken=True))
    assert await webpush_sender().send(browser(subscription), push()) == Sent("")
    assert len(push_service.received) == 1


async def test_one_that_hangs_costs_the_time_out_and_no_more(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    _, subscription = push_service.subscribe(VAPID.public_key)
    push_service.arm(Fault("push", action="hang"))
    async with asyncio.timeout(WAIT):
        outcome = await webpush_sender(timeout_s=0.3).send(browser(subscription), push())
    assert outcome == Temporary("timeout")


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
    assert VAPID.public_key == public_text(read_vapid_key(VAPID_KEY + "="))
    assert from_base64url(VAPID.public_key)[0] == 4
    assert len(from_base64url(VAPID.public_key)) == 65


async def test_no_secret_stands_in_what_is_printed(
    push_service: FakePushService, webpush_sender: MakeWebPushSender
) -> None:
    _, subscription = push_service.subscribe(VAPID.public_key)
    sender = webpush_sender()
    await sender.send(browser(subscription), push())
    shown = repr(sender) + repr(VAPID) + repr(browser(subscription))
    shown += repr(read_subscription(subscription))
    assert VAPID_KEY not in shown
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
