"""Pushes over real HTTP to a local FCM that checks the grant, the bearer and the body."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hub.plumbing.life.clock import VirtualClock
from hub.plumbing.telemetry.trace import traced
from tests.fakes import fcm_schema
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.workers.channels.conftest import MakeFcmSender, push, soon, to
from workers.channels.fcm.grant import AccessTokens, CredentialsError, ServiceAccount
from workers.channels.fcm.sender import FcmSender
from workers.channels.outcome import About, Expired, Outcome, Permanent, Sent, Temporary

WAIT = 5.0


async def test_an_urgent_push_arrives_with_its_deadline_and_collapse_id(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    deadline = soon(120)
    with traced({"X-Request-ID": "r-1"}):
        outcome = await fcm_sender().send(to("device-1"), push(deadline_at=deadline))
    received = await fcm.next_message(WAIT)
    message = received["message"]
    assert isinstance(outcome, Sent)
    assert outcome.provider_message_id.startswith("projects/dongne-test/messages/")
    assert message["token"] == "device-1"
    assert message["notification"]["body"] == "지금 문 연 약국이 있을까요?"
    assert message["android"]["ttl"] in {"119s", "118s"}
    assert message["android"]["collapse_key"] == message["android"]["notification"]["tag"] == "q-1"
    assert message["apns"]["headers"]["apns-expiration"] == str(int(deadline.timestamp()))
    assert message["apns"]["headers"]["apns-collapse-id"] == "q-1"
    assert message["webpush"]["headers"]["TTL"] in {"119", "118"}
    assert received["headers"]["X-Request-ID"] == "r-1"


@pytest.mark.parametrize("left", [-5.0, 0.0, 0.9])
async def test_under_a_second_left_nothing_leaves(
    fcm: FakeFcm, fcm_sender: MakeFcmSender, left: float
) -> None:
    assert await fcm_sender().send(to("device-1"), push(deadline_at=soon(left))) == Expired()
    assert (fcm.grants, fcm.sends) == (0, 0)


async def test_a_grant_that_takes_what_was_left_means_expired(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    clock = VirtualClock()
    fcm.arm(Fault("token", action="hold"))
    urgent = push(deadline_at=clock.now() + timedelta(seconds=3))
    sending = asyncio.create_task(fcm_sender(clock=clock).send(to("device-1"), urgent))
    await fcm.wait_held(WAIT)
    clock.advance(2.5)
    fcm.release()
    assert await sending == Expired()
    assert fcm.sends == 0


async def test_fifty_pushes_at_once_ask_for_one_grant(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    sender = fcm_sender()
    outcomes = await asyncio.gather(*[sender.send(to(f"d{n}"), push()) for n in range(50)])
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert fcm.grants == 1
    assert {m["token"] for m in fcm.received} == {f"d{n}" for n in range(50)}


async def test_who_gives_up_waiting_for_the_grant_takes_it_from_nobody(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    fcm.arm(Fault("token", action="hold"))
    sender = fcm_sender()
    first = asyncio.create_task(sender.send(to("first"), push()))
    second = asyncio.create_task(sender.send(to("second"), push()))
    await fcm.wait_held(WAIT)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    fcm.release()
    assert isinstance(await second, Sent)
    assert [m["token"] for m in fcm.received] == ["second"]
    assert fcm.grants == 1


async def test_a_grant_is_renewed_a_minute_before_it_ends(
    fcm: FakeFcm, session: aiohttp.ClientSession
) -> None:
    elapsed = [0.0]
    account = ServiceAccount.from_file(fcm.credentials_file)
    tokens = AccessTokens(session, account, WAIT, monotonic=lambda: elapsed[0])
    first = await tokens.get()
    elapsed[0] = 3539.0
    assert await tokens.get() == first
    elapsed[0] = 3541.0
    assert await tokens.get() != first
    assert fcm.grants == 2


async def test_a_short_grant_is_kept_for_half_of_its_life(
    fcm: FakeFcm, session: aiohttp.ClientSession
) -> None:
    fcm.token_life_s = 10
    elapsed = [0.0]
    account = ServiceAccount.from_file(fcm.credentials_file)
    tokens = AccessTokens(session, account, WAIT, monotonic=lambda: elapsed[0])
    first = await tokens.get()
    elapsed[0] = 4.9
    assert await tokens.get() == first
    elapsed[0] = 5.1
    assert await tokens.get() != first


@pytest.mark.fault(13)
async def test_a_bearer_that_died_costs_one_refresh_and_no_try(
    fcm: FakeFcm, fcm_sender: MakeFcmSender, record_property: Callable[[str, object], None]
) -> None:
    sender = fcm_sender()
    assert isinstance(await sender.send(to("a"), push()), Sent)
    fcm.account.withdraw_all()
    outcomes = await asyncio.gather(*[sender.send(to(f"d{n}"), push()) for n in range(20)])
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert fcm.refused_bearers == 20
    assert fcm.grants == 2
    record_property("seen", "20 pushes with a dead bearer: 1 refresh, no try lost")


@pytest.mark.fault(13, 14)
async def test_an_account_that_google_refuses_costs_a_grant_a_minute(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    elapsed = [0.0]
    sender = fcm_sender(monotonic=lambda: elapsed[0])
    fcm.arm(Fault("send", status=401, body=fcm_schema.NO_BEARER, times=100))
    refused = Temporary("UNAUTHENTICATED", about=About.US)
    assert [await sender.send(to("a"), push()) for _ in range(6)] == [refused] * 6
    assert fcm.grants == 1
    elapsed[0] = 61.0
    assert await sender.send(to("a"), push()) == refused
    assert fcm.grants == 2


@pytest.mark.fault(13, 14)
async def test_a_grant_that_is_refused_is_asked_for_again_after_a_pause(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    elapsed = [0.0]
    sender = fcm_sender(monotonic=lambda: elapsed[0])
    fcm.arm(Fault("token", status=400, body={"error": "invalid_grant"}))
    refused = Temporary("credentials_refused", about=About.US)
    assert [await sender.send(to("a"), push()) for _ in range(6)] == [refused] * 6
    assert fcm.grants == 1
    elapsed[0] = 5.1
    assert isinstance(await sender.send(to("a"), push()), Sent)


@pytest.mark.fault(14)
async def test_a_broken_apns_key_leaves_our_bearer_alone(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    fcm.apns_key = False
    sender = fcm_sender()
    refused = Temporary("THIRD_PARTY_AUTH_ERROR", about=About.US)
    assert [await sender.send(to("iphone"), push()) for _ in range(6)] == [refused] * 6
    assert fcm.grants == 1


@pytest.mark.fault(14)
async def test_a_token_of_another_project_and_a_noisy_one_stay_alive(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    fcm.foreign.add("foreign")
    fcm.noisy.add("noisy")
    sender = fcm_sender()
    assert await sender.send(to("foreign"), push()) == Temporary(
        "SENDER_ID_MISMATCH", about=About.US
    )
    wanted = Temporary("QUOTA_EXCEEDED", 60.0, About.RECIPIENT)
    assert await sender.send(to("noisy"), push()) == wanted


async def test_dead_tokens_are_told_from_bad_messages(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    fcm.unregistered.add("gone")
    fcm.garbled.add("garbled")
    sender = fcm_sender()
    assert await sender.send(to("gone"), push()) == Permanent("UNREGISTERED", token_dead=True)
    assert await sender.send(to("garbled"), push()) == Permanent(
        "INVALID_ARGUMENT", token_dead=True
    )
    fcm.arm(Fault("send", status=400, body=fcm_schema.error(400, "INVALID_ARGUMENT", "no")))
    assert await sender.send(to("fine"), push()) == Permanent("INVALID_ARGUMENT")
    assert fcm.received == []


REFUSED = Temporary("credentials_refused", about=About.US)
FAULTS: list[tuple[Fault, Outcome]] = [
    (Fault("send", status=503, body=fcm_schema.AWAY), Temporary("UNAVAILABLE")),
    (
        Fault("send", status=503, body=fcm_schema.AWAY, headers={"Retry-After": "7"}),
        Temporary("UNAVAILABLE", 7.0),
    ),
    (Fault("send", status=429, body=fcm_schema.QUOTA), Temporary("QUOTA_EXCEEDED", 60.0)),
    (Fault("send", status=500, body=fcm_schema.BROKEN), Temporary("INTERNAL")),
    (Fault("send", status=502, body="<html>Bad gateway</html>"), Temporary("http_502")),
    (Fault("send", status=200, body="no json"), Sent("")),
    (Fault("send", status=302, body="", headers={"Location": "/x"}), Temporary("http_302")),
    (Fault("send", action="close"), Temporary("unreachable")),
    (Fault("token", action="close"), Temporary("unreachable")),
    (Fault("token", status=503, body="away"), Temporary("unreachable")),
    (Fault("token", status=200, body={"access_token": 7}), REFUSED),
    (Fault("token", status=200, body={"access_token": "a\r\nX-Evil: 1"}), REFUSED),
]


@pytest.mark.parametrize(("fault", "outcome"), FAULTS, ids=lambda value: str(value)[:60])
async def test_each_failure_of_the_provider_has_its_outcome_and_the_next_push_passes(
    fcm: FakeFcm, fcm_sender: MakeFcmSender, fault: Fault, outcome: Outcome
) -> None:
    ticks = count(0, 10)  # the next push comes when the pause after a refused grant is over
    sender = fcm_sender(monotonic=lambda: next(ticks))
    fcm.arm(fault)
    assert await sender.send(to("device-1"), push()) == outcome
    assert isinstance(await sender.send(to("device-2"), push()), Sent)
    assert [m["token"] for m in fcm.received] == ["device-2"]


@pytest.mark.parametrize("step", ["token", "send"])
async def test_a_provider_that_hangs_costs_the_time_out_and_no_more(
    fcm: FakeFcm, fcm_sender: MakeFcmSender, step: str
) -> None:
    fcm.arm(Fault(step, action="hang"))
    sender = fcm_sender(timeout_s=0.3)
    async with asyncio.timeout(WAIT):
        assert await sender.send(to("device-1"), push()) == Temporary("timeout")


async def test_a_provider_that_dies_and_comes_back(fcm: FakeFcm, fcm_sender: MakeFcmSender) -> None:
    sender = fcm_sender()
    fcm.arm(Fault("send", action="die"))
    assert await sender.send(to("device-1"), push()) == Temporary("unreachable")
    await fcm.dead.wait()
    assert await sender.send(to("device-1"), push()) == Temporary("unreachable")
    await fcm.stop()
    await fcm.start()
    assert isinstance(await sender.send(to("device-1"), push()), Sent)


async def test_an_answer_that_is_lost_repeats_with_the_same_collapse_id(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    fcm.arm(Fault("send", action="close", taken=True))
    sender = fcm_sender()
    assert await sender.send(to("device-1"), push()) == Temporary("unreachable")
    assert isinstance(await sender.send(to("device-1"), push()), Sent)
    collapse = [m["message"]["android"]["collapse_key"] for m in fcm.received]
    assert collapse == ["q-1", "q-1"]


async def test_a_retraction_wakes_the_app_and_shows_nothing(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    assert isinstance(await fcm_sender().send(to("device-1"), push(silent=True)), Sent)
    message = (await fcm.next_message(WAIT))["message"]
    assert "notification" not in message
    assert "notification" not in message["android"]
    assert message["apns"]["headers"]["apns-push-type"] == "background"
    assert message["apns"]["headers"]["apns-collapse-id"] == "q-1"
    assert message["apns"]["payload"]["aps"] == {"badge": 3, "content-available": 1}


def _account(**changes: Any) -> str:
    whole = {"project_id": "p", "client_email": "e", "token_uri": "https://t", "private_key": "k"}
    return json.dumps({**whole, **changes})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON"),
        ("[]", "lack project_id"),
        ("{}", "lack project_id, client_email, token_uri, private_key"),
        (_account(), "no RSA private key"),
        (_account(private_key="-----BEGIN PRIVATE KEY-----\ns3cret\n"), "no RSA private key"),
        (_account(private_key=None), "lack private_key"),
    ],
)
async def test_unusable_credentials_are_named_and_never_shown(
    session: aiohttp.ClientSession, tmp_path: Path, content: str, says: str
) -> None:
    file = tmp_path / "account.json"
    file.write_text(content)
    with pytest.raises(CredentialsError, match=says) as caught:
        FcmSender(session, file)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_missing_credentials_file_is_an_error_at_once(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    with pytest.raises(CredentialsError, match="cannot be read"):
        FcmSender(session, tmp_path / "none.json")


async def test_no_secret_stands_in_what_is_printed_of_a_sender(
    fcm: FakeFcm, fcm_sender: MakeFcmSender
) -> None:
    sender = fcm_sender()
    await sender.send(to("device-1"), push())
    shown = repr(sender) + repr(sender._tokens) + repr(sender._tokens._account)
    assert "PRIVATE KEY" not in shown
    assert sender._tokens._token not in shown
