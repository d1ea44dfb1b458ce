"""The stand-ins as processes: a sender that is killed between the answer and its row."""

import asyncio
import os
from functools import partial
from pathlib import Path

import aiohttp

from tests.fakes.fcm import main as fcm_main
from tests.fakes.process import Provider, provider
from tests.fakes.script import Fault
from tests.fakes.smtp import main as smtp_main
from tests.forked import Forked, run_forked
from tests.workers.channels.conftest import MAIL, push, to
from workers.channels.fcm.sender import FcmSender
from workers.channels.outcome import About, Sent, Temporary
from workers.channels.smtp.sender import SmtpSender

WAIT = 10.0


async def _send(url: str, file: str) -> None:
    async with aiohttp.ClientSession() as session:
        await FcmSender(session, Path(file), url=url).send(to("device-1"), push())


def send(url: str, file: str) -> None:
    asyncio.run(_send(url, file))


async def send_in_a_process(fcm: Provider) -> Forked:
    work = partial(send, fcm.url, fcm.announced["credentials_file"])
    return await run_forked(work, env=os.environ, stdout=1, stderr=2)


async def test_killed_before_the_provider_was_called_nothing_has_left(tmp_path: Path) -> None:
    async with provider(fcm_main, "--directory", str(tmp_path)) as fcm:
        await fcm.arm(Fault("token", action="hold"))
        sender = await send_in_a_process(fcm)
        await fcm.wait_held(WAIT)
        sender.kill()
        await sender.wait()
        await fcm.release()
        again = await send_in_a_process(fcm)
        assert await again.wait() == 0
        assert len(await fcm.messages()) == 1


async def test_killed_before_the_answer_came_the_repeat_has_the_same_collapse_id(
    tmp_path: Path,
) -> None:
    async with provider(fcm_main, "--directory", str(tmp_path)) as fcm:
        await fcm.arm(Fault("send", action="hold", taken=True))
        sender = await send_in_a_process(fcm)
        await fcm.wait_held(WAIT)
        sender.kill()
        await sender.wait()
        await fcm.release()
        again = await send_in_a_process(fcm)
        assert await again.wait() == 0
        messages = await fcm.messages()
        assert [m["message"]["android"]["collapse_key"] for m in messages] == ["q-1", "q-1"]


async def test_a_mail_server_of_its_own(tmp_path: Path) -> None:
    async with provider(smtp_main) as smtp:
        await smtp.arm(Fault("rcpt", reply="450 4.2.1 later"), Fault("data", action="hold"))
        post = SmtpSender(smtp.url, "no-reply@dongne.example", timeout_s=WAIT)
        assert await post.post(MAIL) == Temporary("450 4.2.1", about=About.RECIPIENT)
        sending = asyncio.create_task(post.post(MAIL))
        await smtp.wait_held(WAIT)
        assert await smtp.messages() == []
        await smtp.release()
        assert isinstance(await sending, Sent)
        assert [m["subject"] for m in await smtp.messages()] == [MAIL.subject]
        assert await smtp.messages(after=1, wait=0.01) == []


async def test_a_provider_that_dies_is_gone(tmp_path: Path) -> None:
    async with (
        provider(fcm_main, "--directory", str(tmp_path)) as fcm,
        aiohttp.ClientSession() as session,
    ):
        await fcm.arm(Fault("send", action="die"))
        file = Path(fcm.announced["credentials_file"])
        sender = FcmSender(session, file, url=fcm.url)
        assert await sender.send(to("device-1"), push()) == Temporary("unreachable")
        async with asyncio.timeout(WAIT):
            assert await fcm.process.wait() == 0
        assert await sender.send(to("device-1"), push()) == Temporary("unreachable")
        await sender.close()
