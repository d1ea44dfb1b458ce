"""The catcher takes what the real senders send, and shows it to the console's page alone."""

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hub.console.catcher import KEPT, Catcher, catcher
from tests.workers.channels.conftest import MAIL, push, to
from workers.channels.fcm.sender import FcmSender
from workers.channels.outcome import Permanent, Sent, Temporary
from workers.channels.smtp.sender import SmtpSender

PAGE = "http://localhost:3001"
WAIT = 5.0


@pytest.fixture
async def caught(tmp_path: Path) -> AsyncIterator[Catcher]:
    async with catcher(tmp_path, PAGE) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def read(session: aiohttp.ClientSession, caught: Catcher, query: str = "") -> Any:
    async with session.get(f"{caught.http_url}/caught{query}") as response:
        assert response.status == 200
        return await response.json()


async def test_the_page_sees_the_push_and_the_mail_newest_first(
    caught: Catcher, session: aiohttp.ClientSession
) -> None:
    sender = FcmSender(session, caught.fcm_credentials_file, url=caught.fcm_url)
    assert isinstance(await sender.send(to("device-1"), push()), Sent)
    post = SmtpSender(caught.smtp_url, "동네 <no-reply@dongne.example>", timeout_s=WAIT)
    assert isinstance(await post.post(MAIL), Sent)
    mail, shown = await read(session, caught)
    assert (mail["n"], mail["channel"], mail["to"]) == (2, "mail", ["minji@example.com"])
    assert mail["subject"] == "질문에 답변이 달렸어요"
    assert "<p>" in mail["html"]
    assert (shown["n"], shown["channel"], shown["token"]) == (1, "push", "device-1")
    assert shown["body"] == "지금 문 연 약국이 있을까요?"
    assert shown["collapseId"] == "q-1"
    assert shown["data"]["questionId"] == "q-1"
    await sender.close()


async def test_whoever_waits_hears_of_the_next_one_at_once(
    caught: Catcher, session: aiohttp.ClientSession
) -> None:
    post = SmtpSender(caught.smtp_url, "no-reply@dongne.example", timeout_s=WAIT)
    await post.post(MAIL)
    waiting = asyncio.create_task(read(session, caught, "?after=1"))
    await post.post(MAIL)
    async with asyncio.timeout(WAIT):
        assert [item["n"] for item in await waiting] == [2]


async def test_a_number_of_an_earlier_run_gets_everything(
    caught: Catcher, session: aiohttp.ClientSession
) -> None:
    await caught.caught.add("mail", {"subject": "x"})
    async with asyncio.timeout(WAIT):
        assert len(await read(session, caught, "?after=99")) == 1


async def test_only_the_last_are_kept(caught: Catcher, session: aiohttp.ClientSession) -> None:
    for _ in range(KEPT + 5):
        await caught.caught.add("mail", {})
    items = await read(session, caught)
    assert [items[0]["n"], items[-1]["n"], len(items)] == [KEPT + 5, 6, KEPT]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3001", "127.0.0.1.evil.example", ""]
)
async def test_a_foreign_host_name_is_refused(
    caught: Catcher, session: aiohttp.ClientSession, host: str
) -> None:
    async with session.get(f"{caught.http_url}/caught", headers={"Host": host}) as response:
        assert response.status == 403
    async with session.post(f"{caught.http_url}/token", headers={"Host": host}) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3001", 200),
        ("http://127.0.0.1:3001", 200),
        ("http://[::1]:3001", 200),
        ("http://localhost:3002", 403),
        ("https://localhost:3001", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ],
)
async def test_only_the_consoles_page_may_read(
    caught: Catcher, session: aiohttp.ClientSession, origin: str, status: int
) -> None:
    async with session.get(f"{caught.http_url}/caught", headers={"Origin": origin}) as response:
        assert response.status == status
        allowed = response.headers.get("Access-Control-Allow-Origin")
        assert allowed == (origin if status == 200 else None)


async def test_the_page_may_be_named_later(caught: Catcher, session: aiohttp.ClientSession) -> None:
    caught.allow("http://127.0.0.1:4567")
    headers = {"Origin": "http://localhost:4567"}
    async with session.get(f"{caught.http_url}/caught", headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize("after", ["x", "-1", "1e3", "", "9" * 30, "٣"])
async def test_a_number_that_is_none_is_refused(
    caught: Catcher, session: aiohttp.ClientSession, after: str
) -> None:
    url = f"{caught.http_url}/caught"
    async with session.get(url, params={"after": after}) as response:
        assert response.status == 400


async def test_the_credentials_are_the_owners_only_and_go_with_the_catcher(tmp_path: Path) -> None:
    async with catcher(tmp_path, PAGE) as running:
        file = running.fcm_credentials_file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


async def test_a_grant_of_another_catcher_is_worth_nothing_here(
    caught: Catcher, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    ours = FcmSender(session, caught.fcm_credentials_file, url=caught.fcm_url)
    other = tmp_path / "other"
    other.mkdir()
    async with catcher(other, PAGE) as newer:
        stranger = FcmSender(session, newer.fcm_credentials_file, url=caught.fcm_url)
        assert isinstance(await stranger.send(to("device-1"), push()), Temporary | Permanent)
    assert await read(session, caught) == []
    assert isinstance(await ours.send(to("device-1"), push()), Sent)
    await ours.close()
    await stranger.close()


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"message": 1}', '{"message": {}}', '{"message": {"token": "a", "data": 3}}'],
)
async def test_what_is_no_message_is_refused_and_not_shown(
    caught: Catcher, session: aiohttp.ClientSession, body: str
) -> None:
    grant = FcmSender(session, caught.fcm_credentials_file, url=caught.fcm_url)
    assert isinstance(await grant.send(to("device-1"), push()), Sent)
    headers = {"Authorization": f"Bearer {await grant._tokens.get()}"}
    url = f"{caught.fcm_url}/v1/projects/dongne-local/messages:send"
    async with session.post(url, data=body, headers=headers) as response:
        assert response.status == 400
    async with session.post(url, data=body) as response:
        assert response.status == 401
    assert len(await read(session, caught)) == 1
    await grant.close()


async def test_a_mail_over_the_limit_is_refused_for_good(caught: Catcher) -> None:
    post = SmtpSender(caught.smtp_url, "no-reply@dongne.example", timeout_s=WAIT)
    outcome = await post.post(replace(MAIL, text="x" * 1_200_000))
    assert isinstance(outcome, Permanent)
    assert not outcome.token_dead


async def test_stopping_does_not_wait_for_the_page(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(WAIT):
        async with catcher(tmp_path, PAGE) as running:
            waiting = asyncio.create_task(read(session, running, "?after=0"))
            await asyncio.sleep(0.1)  # let the request arrive: nothing else tells that it has
        assert await waiting == []
