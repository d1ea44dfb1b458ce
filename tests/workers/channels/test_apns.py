"""Pushes over real HTTP/2 to a local APNs that checks token, headers and payload."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from hub.plumbing.life.clock import VirtualClock
from tests.fakes.apns import KEY_ID, TEAM_ID, TOPIC, FakeApns
from tests.fakes.script import Fault
from tests.tls import self_signed, serving
from tests.workers.channels.conftest import push, soon
from workers.channels.apns.bearer import SPAN_S, ApnsSettingsError, ProviderTokens
from workers.channels.apns.http2 import Connection, Lost
from workers.channels.apns.sender import ApnsSender
from workers.channels.message import Recipient
from workers.channels.outcome import About, Expired, Outcome, Permanent, Sent, Temporary

WAIT = 5.0
TOKEN = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

MakeSender = Callable[..., ApnsSender]


@pytest.fixture
async def apns(tmp_path: Path) -> AsyncIterator[FakeApns]:
    async with FakeApns(tmp_path) as fake:
        yield fake


@pytest.fixture
async def make(apns: FakeApns) -> AsyncIterator[MakeSender]:
    """Makes senders that speak to the local APNs; closes them afterwards."""
    made: list[ApnsSender] = []

    def make(fake: FakeApns = apns, **options: Any) -> ApnsSender:
        tokens = ProviderTokens(fake.key_file, KEY_ID, TEAM_ID)
        urls = options.pop("urls", dict.fromkeys(("production", "sandbox"), fake.url))
        made.append(ApnsSender(tokens, TOPIC, urls, **{"timeout_s": WAIT} | options))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


def phone(token: str = TOKEN, **changes: Any) -> Recipient:
    return Recipient(token, **{"platform": "ios", "environment": "production"} | changes)


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
    apns: FakeApns, make: MakeSender
) -> None:
    deadline = soon(120)
    message = push(deadline_at=deadline)
    outcome = await make().send(phone(), message)
    assert outcome == Sent(message.delivery_id)
    received = await apns.next_message(WAIT)
    assert received["token"] == TOKEN
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
    apns: FakeApns, make: MakeSender
) -> None:
    assert isinstance(await make().send(phone(), push(silent=True)), Sent)
    received = await apns.next_message(WAIT)
    assert received["headers"]["apns-push-type"] == "background"
    assert received["headers"]["apns-priority"] == "5"
    assert received["headers"]["apns-collapse-id"] == "q-1"
    assert received["payload"]["aps"] == {"badge": 3, "content-available": 1}


@pytest.mark.parametrize("left", [-5.0, 0.0, 0.9])
async def test_under_a_second_left_nothing_leaves(
    apns: FakeApns, make: MakeSender, left: float
) -> None:
    assert await make().send(phone(), push(deadline_at=soon(left))) == Expired()
    assert apns.connections == 0


async def test_fifty_pushes_at_once_share_one_connection_and_one_token(
    apns: FakeApns, make: MakeSender
) -> None:
    sender = make()
    outcomes = await asyncio.gather(*[sender.send(phone(t), push()) for t in numbered(50)])
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert {m["token"] for m in apns.received} == set(numbered(50))
    assert apns.connections == 1
    assert len(apns.bearers) == 1


async def test_no_more_requests_at_once_than_the_server_takes(
    tmp_path: Path, make: MakeSender
) -> None:
    async with FakeApns(tmp_path, most=2) as apns:
        sender = make(apns)
        assert isinstance(await sender.send(phone(), push()), Sent)
        apns.arm(Fault("push", action="hold", times=2))
        sending = [asyncio.create_task(sender.send(phone(t), push())) for t in numbered(5)]
        await apns.wait_held(WAIT, 2)
        apns.release()
        assert all(isinstance(outcome, Sent) for outcome in await asyncio.gather(*sending))
        assert apns.busiest == 2
        assert apns.connections == 1


async def test_a_server_with_a_small_window_gets_the_payload_in_pieces(
    tmp_path: Path, make: MakeSender
) -> None:
    async with FakeApns(tmp_path, window=100) as apns:
        assert isinstance(await make(apns).send(phone(), push(body="가" * 300)), Sent)
        assert (await apns.next_message(WAIT))["payload"]["aps"]["alert"]["body"] == "가" * 300


async def test_a_device_of_the_sandbox_goes_to_the_sandbox(
    apns: FakeApns, make: MakeSender, tmp_path: Path
) -> None:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    async with FakeApns(folder) as sandbox:
        sandbox.key = apns.key
        sender = make(urls={"production": apns.url, "sandbox": sandbox.url})
        await sender.send(phone("aa"), push())
        await sender.send(phone("bb", environment="sandbox"), push())
        assert [m["token"] for m in apns.received] == ["aa"]
        assert [m["token"] for m in sandbox.received] == ["bb"]


async def test_over_tls_with_a_certificate_that_is_checked(
    tmp_path: Path, make: MakeSender
) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with FakeApns(tmp_path, tls=serving(certificate, key)) as apns:
        assert isinstance(await make(apns, tls=trusting).send(phone(), push()), Sent)
        assert await make(apns).send(phone(), push()) == Temporary("unreachable")


async def test_a_server_that_speaks_no_http2_is_unreachable(
    tmp_path: Path, make: MakeSender
) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with saying(None, serving(certificate, key)) as port:
        sender = make(urls={"production": f"https://127.0.0.1:{port}"}, tls=trusting)
        assert await sender.send(phone(), push()) == Temporary("unreachable")


async def test_after_a_goaway_what_was_taken_is_answered_and_the_rest_goes_another_way(
    apns: FakeApns, make: MakeSender
) -> None:
    sender = make()
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


async def test_a_goaway_between_two_pushes_costs_none(apns: FakeApns, make: MakeSender) -> None:
    sender = make()
    apns.arm(Fault("push", action="goaway", taken=True))
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert [m["connection"] for m in apns.received] == [1, 2]


async def test_a_refused_request_goes_once_more_and_not_for_ever(
    apns: FakeApns, make: MakeSender
) -> None:
    sender = make()
    apns.arm(Fault("push", action="refuse"))
    assert isinstance(await sender.send(phone(), push()), Sent)
    apns.arm(Fault("push", action="refuse", times=2))
    assert await sender.send(phone(), push()) == Temporary("unreachable")
    assert len(apns.received) == 1


@pytest.mark.parametrize("action", ["close", "half"])
async def test_an_answer_that_is_lost_repeats_with_the_same_collapse_id(
    apns: FakeApns, make: MakeSender, action: Any
) -> None:
    apns.arm(Fault("push", action=action, taken=True))
    sender = make()
    assert await sender.send(phone(), push()) == Temporary("unreachable")
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert [m["headers"]["apns-collapse-id"] for m in apns.received] == ["q-1", "q-1"]


async def test_a_request_that_hangs_ends_in_time_and_takes_no_other_with_it(
    apns: FakeApns, make: MakeSender
) -> None:
    apns.arm(Fault("push", action="hang"))
    sender = make(timeout_s=0.4)
    hanging = asyncio.create_task(sender.send(phone("aa"), push()))
    await apns.wait(lambda: apns.pushes == 1, WAIT)
    async with asyncio.timeout(WAIT):
        assert await hanging == Temporary("timeout")
    assert isinstance(await sender.send(phone("bb"), push()), Sent)


async def test_a_connection_on_which_nothing_is_heard_is_left(
    apns: FakeApns, make: MakeSender
) -> None:
    sender = make(timeout_s=0.4)
    assert isinstance(await sender.send(phone("aa"), push()), Sent)
    apns.arm(Fault("push", action="hang"))
    assert await sender.send(phone("bb"), push()) == Temporary("timeout")
    assert isinstance(await sender.send(phone("cc"), push()), Sent)
    assert [m["connection"] for m in apns.received] == [1, 2]


async def test_a_server_that_never_greets_costs_the_time_out_and_no_more(make: MakeSender) -> None:
    async with saying(None) as port:
        sender = make(urls={"production": f"http://127.0.0.1:{port}"}, timeout_s=0.2)
        async with asyncio.timeout(WAIT):
            assert await sender.send(phone(), push()) == Temporary("timeout")
            assert await sender.send(phone(), push()) == Temporary("timeout")


async def test_a_provider_that_dies_and_comes_back(apns: FakeApns, make: MakeSender) -> None:
    sender = make()
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
    make: MakeSender, noise: bytes
) -> None:
    async with saying(noise) as port:
        sender = make(urls={"production": f"http://127.0.0.1:{port}"})
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
    apns: FakeApns, make: MakeSender, kind: str, outcome: Outcome
) -> None:
    getattr(apns, kind).add(TOKEN)
    assert await make().send(phone(), push()) == outcome


async def test_a_token_that_was_registered_again_since_is_not_dead(
    apns: FakeApns, make: MakeSender
) -> None:
    dead_since = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    apns.unregistered[TOKEN] = int(dead_since.timestamp() * 1000)
    sender, second = make(), timedelta(seconds=1)
    before = phone(registered_at=dead_since - second)
    after = phone(registered_at=dead_since + second)
    assert await sender.send(before, push()) == Permanent("Unregistered", token_dead=True)
    assert await sender.send(after, push()) == Temporary("Unregistered", about=About.RECIPIENT)
    assert await sender.send(phone(), push()) == Permanent("Unregistered", token_dead=True)


async def test_a_token_of_another_provider_is_not_brought_before_apple(
    apns: FakeApns, make: MakeSender
) -> None:
    for token in ("d:APA91bHun", "../../x", "", "aa\r\nx: y"):
        assert await make().send(phone(token), push()) == Permanent("bad_address")
    assert apns.connections == 0


async def test_provider_tokens_are_renewed_between_20_and_60_minutes_and_shared_by_the_fleet(
    apns: FakeApns, make: MakeSender
) -> None:
    clock = VirtualClock(datetime(2026, 11, 21, 9, 0, tzinfo=UTC))
    apns.now = lambda: clock.now().timestamp()
    workers = [make(clock=clock) for _ in range(3)]
    for _ in range(600 // 5):
        for worker in workers:
            assert isinstance(await worker.send(phone(), push()), Sent)
        clock.advance(5 * 60)
    assert 1200 <= SPAN_S <= 3600
    # 10 hours: as many tokens as spans that were touched, whatever the number of workers
    assert len(apns.bearers) == 14
    assert apns.connections == 3


async def test_a_provider_token_that_had_its_time_costs_no_try(
    apns: FakeApns, make: MakeSender
) -> None:
    start = datetime.fromtimestamp(SPAN_S * 600_000 + SPAN_S - 2, UTC)
    clock = VirtualClock(start)
    apns.now = lambda: clock.now().timestamp()
    apns.arm(Fault("push", status=403, body={"reason": "ExpiredProviderToken"}))
    sender = make(clock=clock)

    class Later(VirtualClock):
        """The span ends while the first request is under way."""

        def now(self) -> datetime:
            if apns.pushes:
                return start + timedelta(seconds=3)
            return start

    sender = make(clock=Later())
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert apns.pushes == 2


async def test_a_token_that_is_refused_for_good_is_ours_to_mend(
    apns: FakeApns, make: MakeSender
) -> None:
    apns.now = lambda: datetime.now(UTC).timestamp() + 2 * 3600
    assert await make().send(phone(), push()) == Temporary("ExpiredProviderToken", about=About.US)
    assert apns.pushes == 1
    strange = ApnsSender(
        ProviderTokens(apns.key_file, "OTHERKEYID", TEAM_ID), TOPIC, {"production": apns.url}
    )
    refused = Temporary("InvalidProviderToken", about=About.US)
    assert await strange.send(phone(), push()) == refused
    await strange.close()


async def test_somebody_else_who_signs_too_often_wakes_an_operator(
    apns: FakeApns, make: MakeSender
) -> None:
    clock = VirtualClock(datetime(2026, 11, 21, 9, 0, tzinfo=UTC))
    apns.updates_s = 10_000
    apns.now = lambda: clock.now().timestamp()
    sender = make(clock=clock)
    assert isinstance(await sender.send(phone(), push()), Sent)
    clock.advance(SPAN_S)
    refused = Temporary("TooManyProviderTokenUpdates", about=About.US)
    assert await sender.send(phone(), push()) == refused


def test_a_token_is_what_apple_describes(tmp_path: Path) -> None:
    apns = FakeApns(tmp_path)
    now = datetime(2026, 11, 21, 9, 44, 59, tzinfo=UTC)
    token = ProviderTokens(apns.key_file, KEY_ID, TEAM_ID).at(now)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY_ID}
    checks = {"verify_iat": False}
    claims = jwt.decode(token, apns.key.public_key(), algorithms=["ES256"], options=checks)  # type: ignore[arg-type]
    assert set(claims) == {"iss", "iat"}
    assert claims["iss"] == TEAM_ID
    assert 0 <= now.timestamp() - claims["iat"] < SPAN_S
    assert ProviderTokens(apns.key_file, KEY_ID, TEAM_ID).at(now) == token


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n", "no private key"),
        (None, "cannot be read"),
    ],
)
def test_unusable_keys_are_named_and_never_shown(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "key.p8"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ApnsSettingsError, match=says) as caught:
        ProviderTokens(file, KEY_ID, TEAM_ID)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_no_secret_stands_in_what_is_printed(apns: FakeApns, make: MakeSender) -> None:
    sender = make()
    await sender.send(phone(), push())
    shown = repr(sender) + repr(sender._tokens) + repr(phone())
    assert "PRIVATE KEY" not in shown
    assert sender._tokens._token not in shown
    assert TOKEN not in shown
