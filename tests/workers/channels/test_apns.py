"""Pushes over real HTTP/2 to a local APNs that checks token, headers and payload."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.apns import FakeApns
from tests.fakes.script import Fault
from tests.tls import self_signed, serving
from tests.workers.channels.conftest import (
    APNS_TOKEN,
    MakeApnsSender,
    phone,
    push,
    soon,
)
from workers.channels.apns.http2 import Connection, Lost
from workers.channels.outcome import About, Expired, Outcome, Permanent, Sent, Temporary

WAIT = 5.0


@asynccontextmanager
async def saying(words: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that says this and hangs up; None: it says nothing and stays."""
    open: list[asyncio.Transport] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            open.append(transport)
            if words is not None:
                transport.write(words)
                transport.close()

    loop = asyncio.get_running_loop()
    async with await loop.create_server(Server, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
        for transport in open:
            transport.abort()


def numbered(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(1, count + 1)]


async def test_an_urgent_push_arrives_with_its_deadline_and_collapse_id(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    deadline = soon(120)
    message = push(deadline_at=deadline)
    outcome = await apns_sender().send(phone(), message)
    assert outcome == Sent(message.delivery_id)
    received = await apns.next_message(WAIT)
    assert received["token"] == APNS_TOKEN
    headers = received["headers"]
    assert headers["apns-expiration"] == str(int(deadline.timestamp()))
    assert headers["apns-collapse-id"] == "q-1"
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("alert", "10")
    payload = received["payload"]
    assert payload["aps"]["alert"] == {"title": message.title, "body": message.body}
    assert payload["aps"]["badge"] == message.unread
    assert payload["questionId"] == "q-1"
    assert payload["url"] == message.url


async def test_a_retraction_is_a_background_push_that_shows_nothing(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    assert isinstance(await apns_sender().send(phone(), push(silent=True)), Sent)
    received = await apns.next_message(WAIT)
    assert received["headers"]["apns-push-type"] == "background"
    assert received["headers"]["apns-priority"] == "5"
    assert received["headers"]["apns-collapse-id"] == "q-1"
    assert received["payload"]["aps"] == {"badge": 3, "content-available": 1}


@pytest.mark.parametrize("left", [-5.0, 0.0, 0.9])
async def test_under_a_second_left_nothing_leaves(
    apns: FakeApns, apns_sender: MakeApnsSender, left: float
) -> None:
    assert await apns_sender().send(phone(), push(deadline_at=soon(left))) == Expired()
    assert apns.connections == 0


async def test_fifty_pushes_at_once_share_one_connection_and_one_token(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    sender = apns_sender()
    outcomes = await asyncio.gather(*[sender.send(phone(t), push()) for t in numbered(50)])
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert {m["token"] for m in apns.received} == set(numbered(50))
    assert apns.connections == 1
    assert len(apns.bearers) == 1


async def test_no_more_requests_at_once_than_the_server_takes(
    tmp_path: Path, apns_sender: MakeApnsSender
) -> None:
    async with FakeApns(tmp_path, most=2) as apns:
        sender = apns_sender(apns)
        assert isinstance(await sender.send(phone(), push()), Sent)
        apns.arm(Fault("push", action="hold", times=2))
        sending = [asyncio.create_task(sender.send(phone(t), push())) for t in numbered(5)]
        await apns.wait_held(WAIT, 2)
        apns.release()
        assert all(isinstance(outcome, Sent) for outcome in await asyncio.gather(*sending))
        assert apns.busiest == 2
        assert apns.connections == 1


async def test_a_server_with_a_small_window_gets_the_payload_in_pieces(
    tmp_path: Path, apns_sender: MakeApnsSender
) -> None:
    async with FakeApns(tmp_path, window=100) as apns:
        assert isinstance(await apns_sender(apns).send(phone(), push(body="가" * 300)), Sent)
        assert (await apns.next_message(WAIT))["payload"]["aps"]["alert"]["body"] == "가" * 300


async def test_a_device_of_the_sandbox_goes_to_the_sandbox(
    apns: FakeApns, apns_sender: MakeApnsSender, tmp_path: Path
) -> None:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    async with FakeApns(folder) as sandbox:
        sandbox.key = apns.key
        sender = apns_sender(urls={"production": apns.url, "sandbox": sandbox.url})
        await sender.send(phone("aa"), push())
        await sender.send(phone("bb", environment="sandbox"), push())
        assert [m["token"] for m in apns.received] == ["aa"]
        assert [m["token"] for m in sandbox.received] == ["bb"]


async def test_over_tls_with_a_certificate_that_is_checked(
    tmp_path: Path, apns_sender: MakeApnsSender
) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with FakeApns(tmp_path, tls=serving(certificate, key)) as apns:
        assert isinstance(await apns_sender(apns, tls=trusting).send(phone(), push()), Sent)
        assert await apns_sender(apns).send(phone(), push()) == Temporary("unreachable")


async def test_a_server_that_speaks_no_http2_is_unreachable(
    tmp_path: Path, apns_sender: MakeApnsSender
) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with saying(None, serving(certificate, key)) as port:
        sender = apns_sender(urls={"production": f"https://127.0.0.1:{port}"}, tls=trusting)
        assert await sender.send(phone(), push()) == Temporary("unreachable")


async def test_after_a_goaway_what_was_taken_is_answered_and_the_rest_goes_another_way(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    sender = apns_sender()
    first, second, third = numbered(3)
    assert isinstance(await sender.send(phone("aa"), push()), Sent)
    apns.arm(Fault("push", action="hold"), Fault("push", action="goaway"))
    taken = asyncio.create_task(sender.send(phone(first), push()))
    await apns.wait_held(WAIT)
    assert isinstance(await sender.send(phone(second), push()), Sent)
    assert isinstance(await sender.send(phone(third), push()), Sent)
    apns.release()
    assert isinstance(await taken, Sent)
    assert apns.connections == 2
    by = {m["token"]: m["connection"] for m in apns.received}
    assert by == {"aa": 1, second: 2, third: 2, first: 1}
    assert len(apns.received) == 4


async def test_a_goaway_between_two_pushes_costs_none(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    sender = apns_sender()
    apns.arm(Fault("push", action="goaway", taken=True))
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert [m["connection"] for m in apns.received] == [1, 2]


async def test_a_refused_request_goes_once_more_and_not_for_ever(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    sender = apns_sender()
    apns.arm(Fault("push", action="refuse"))
    assert isinstance(await sender.send(phone(), push()), Sent)
    apns.arm(Fault("push", action="refuse", times=2))
    assert await sender.send(phone(), push()) == Temporary("unreachable")
    assert len(apns.received) == 1


@pytest.mark.parametrize("action", ["close", "half"])
async def test_an_answer_that_is_lost_repeats_with_the_same_collapse_id(
    apns: FakeApns, apns_sender: MakeApnsSender, action: Any
) -> None:
    apns.arm(Fault("push", action=action, taken=True))
    sender = apns_sender()
    assert await sender.send(phone(), push()) == Temporary("unreachable")
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert [m["headers"]["apns-collapse-id"] for m in apns.received] == ["q-1", "q-1"]


async def test_a_request_that_hangs_ends_in_time_and_takes_no_other_with_it(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    apns.arm(Fault("push", action="hang"))
    sender = apns_sender(timeout_s=0.4)
    hanging = asyncio.create_task(sender.send(phone("aa"), push()))
    await apns.wait(lambda: apns.pushes == 1, WAIT)
    async with asyncio.timeout(WAIT):
        assert await hanging == Temporary("timeout")
    assert isinstance(await sender.send(phone("bb"), push()), Sent)


async def test_a_connection_on_which_nothing_is_heard_is_left(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    sender = apns_sender(timeout_s=0.4)
    assert isinstance(await sender.send(phone("aa"), push()), Sent)
    apns.arm(Fault("push", action="hang"))
    assert await sender.send(phone("bb"), push()) == Temporary("timeout")
    assert isinstance(await sender.send(phone("cc"), push()), Sent)
    assert [m["connection"] for m in apns.received] == [1, 2]


async def test_a_server_that_never_greets_costs_the_time_out_and_no_more(
    apns_sender: MakeApnsSender,
) -> None:
    async with saying(None) as port:
        sender = apns_sender(urls={"production": f"http://127.0.0.1:{port}"}, timeout_s=0.2)
        async with asyncio.timeout(WAIT):
            assert await sender.send(phone(), push()) == Temporary("timeout")
            assert await sender.send(phone(), push()) == Temporary("timeout")


async def test_a_provider_that_dies_and_comes_back(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    sender = apns_sender()
    apns.arm(Fault("push", action="die"))
    assert await sender.send(phone(), push()) == Temporary("unreachable")
    await apns.dead.wait()
    assert await sender.send(phone(), push()) == Temporary("unreachable")
    await apns.start()
    assert isinstance(await sender.send(phone(), push()), Sent)


@pytest.mark.parametrize(
    "noise",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64, b"\0\0\0\4\1\0\0\0\1", b""],
    ids=["http1", "too long", "no settings", "nothing"],
)
async def test_what_is_no_http2_ends_the_connection_and_nothing_else(
    apns_sender: MakeApnsSender, noise: bytes
) -> None:
    async with saying(noise) as port:
        sender = apns_sender(urls={"production": f"http://127.0.0.1:{port}"})
        assert await sender.send(phone(), push()) == Temporary("unreachable")


async def test_closing_ends_what_waits(apns: FakeApns) -> None:
    apns.arm(Fault("push", action="hang"))
    connection = await Connection.open("127.0.0.1", apns.port, None)
    headers = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/3/device/aa"}
    asking = asyncio.create_task(connection.request(list(headers.items()), b"{}"))
    await apns.wait(lambda: apns.pushes == 1, WAIT)
    await connection.close()
    with pytest.raises(Lost):
        await asking
    assert connection.over


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("bad", Permanent("BadDeviceToken", token_dead=True)),
        ("foreign", Temporary("DeviceTokenNotForTopic", about=About.US)),
        ("noisy", Temporary("TooManyRequests", 7.0, About.RECIPIENT)),
    ],
)
async def test_what_is_wrong_with_a_device_token(
    apns: FakeApns, apns_sender: MakeApnsSender, kind: str, outcome: Outcome
) -> None:
    getattr(apns, kind).add(APNS_TOKEN)
    assert await apns_sender().send(phone(), push()) == outcome


async def test_a_token_that_was_registered_again_since_is_not_dead(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    dead_since = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    apns.unregistered[APNS_TOKEN] = int(dead_since.timestamp() * 1000)
    sender, second = apns_sender(), timedelta(seconds=1)
    before = phone(registered_at=dead_since - second)
    after = phone(registered_at=dead_since + second)
    assert await sender.send(before, push()) == Permanent("Unregistered", token_dead=True)
    assert await sender.send(after, push()) == Temporary("Unregistered", about=About.RECIPIENT)
    assert await sender.send(phone(), push()) == Permanent("Unregistered", token_dead=True)


async def test_a_token_of_another_provider_is_not_brought_before_apple(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    for token in ("d:APA91bHun", "../../x", "", "aa\r\nx: y"):
        assert await apns_sender().send(phone(token), push()) == Permanent("bad_address")
    assert apns.connections == 0
