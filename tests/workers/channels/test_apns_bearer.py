"""The provider token that APNs gets with each push: how long it lives, and who carries it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from hub.plumbing.life.clock import VirtualClock
from tests.fakes.apns import KEY_ID, TEAM_ID, TOPIC, FakeApns
from tests.fakes.script import Fault
from tests.workers.channels.conftest import APNS_TOKEN, MakeApnsSender, phone, push
from workers.channels.apns.bearer import SPAN_S, ApnsSettingsError, ProviderTokens
from workers.channels.apns.sender import ApnsSender
from workers.channels.outcome import About, Sent, Temporary


async def test_provider_tokens_are_renewed_between_20_and_60_minutes_and_shared_by_the_fleet(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    clock = VirtualClock(datetime(2026, 11, 21, 9, 0, tzinfo=UTC))
    apns.now = lambda: clock.now().timestamp()
    workers = [apns_sender(clock=clock) for _ in range(3)]
    for _ in range(600 // 5):
        for worker in workers:
            assert isinstance(await worker.send(phone(), push()), Sent)
        clock.advance(5 * 60)
    assert 1200 <= SPAN_S <= 3600
    # 10 hours: as many tokens as spans that were touched, whatever the number of workers
    assert len(apns.bearers) == 14
    assert apns.connections == 3


async def test_a_provider_token_that_had_its_time_costs_no_try(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    start = datetime.fromtimestamp(SPAN_S * 600_000 + SPAN_S - 2, UTC)
    clock = VirtualClock(start)
    apns.now = lambda: clock.now().timestamp()
    apns.arm(Fault("push", status=403, body={"reason": "ExpiredProviderToken"}))
    sender = apns_sender(clock=clock)

    class Later(VirtualClock):
        """The span ends while the first request is under way."""

        def now(self) -> datetime:
            if apns.pushes:
                return start + timedelta(seconds=3)
            return start

    sender = apns_sender(clock=Later())
    assert isinstance(await sender.send(phone(), push()), Sent)
    assert apns.pushes == 2


async def test_a_token_that_is_refused_for_good_is_ours_to_mend(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    apns.now = lambda: datetime.now(UTC).timestamp() + 2 * 3600
    assert await apns_sender().send(phone(), push()) == Temporary(
        "ExpiredProviderToken", about=About.US
    )
    assert apns.pushes == 1
    strange = ApnsSender(
        ProviderTokens(apns.key_file, "OTHERKEYID", TEAM_ID), TOPIC, {"production": apns.url}
    )
    refused = Temporary("InvalidProviderToken", about=About.US)
    assert await strange.send(phone(), push()) == refused
    await strange.close()


async def test_somebody_else_who_signs_too_often_wakes_an_operator(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    clock = VirtualClock(datetime(2026, 11, 21, 9, 0, tzinfo=UTC))
    apns.updates_s = 10_000
    apns.now = lambda: clock.now().timestamp()
    sender = apns_sender(clock=clock)
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


async def test_no_secret_stands_in_what_is_printed(
    apns: FakeApns, apns_sender: MakeApnsSender
) -> None:
    sender = apns_sender()
    await sender.send(phone(), push())
    shown = repr(sender) + repr(sender._tokens) + repr(phone())
    assert "PRIVATE KEY" not in shown
    assert sender._tokens._token not in shown
    assert APNS_TOKEN not in shown
