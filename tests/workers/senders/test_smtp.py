"""Mails over real SMTP to a local server that refuses, hangs, drops and dies on order."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.script import Fault
from tests.fakes.smtp import FakeSmtp
from tests.tls import self_signed, serving
from tests.workers.senders.conftest import MAIL, mail, soon
from workers.senders import Expired, NotConfigured, Outcome, Permanent, Sent, Temporary
from workers.senders.smtp import MailSettingsError, SmtpSender, SmtpServer

FROM = "동네 <no-reply@dongne.example>"
MESSAGE_ID = f"<{MAIL.message_id}@dongne.example>"
WAIT = 5.0


def sender(smtp: FakeSmtp, **options: Any) -> SmtpSender:
    return SmtpSender(smtp.url, FROM, timeout_s=options.pop("timeout_s", WAIT), **options)


async def test_a_mail_arrives_with_both_forms_and_korean_names(smtp: FakeSmtp) -> None:
    assert await sender(smtp).send(MAIL) == Sent(MESSAGE_ID)
    got = await smtp.next_message(WAIT)
    assert got["mail_from"] == "no-reply@dongne.example"
    assert got["rcpt_to"] == ["minji@example.com"]
    assert got["subject"] == "질문에 답변이 달렸어요"
    assert got["headers"]["From"] == "동네 <no-reply@dongne.example>"
    assert got["headers"]["To"] == "김민지 <minji@example.com>"
    assert got["headers"]["Auto-Submitted"] == "auto-generated"
    assert got["headers"]["Content-Type"].startswith("multipart/alternative")
    assert got["text"].splitlines() == ["안녕하세요.", "답변이 달렸어요."]
    assert got["html"].strip() == "<p>답변이 달렸어요.</p>"
    assert got["raw"].isascii()


async def test_a_repeat_has_the_same_message_id(smtp: FakeSmtp) -> None:
    smtp.arm(Fault("data", action="close", taken=True))
    assert await sender(smtp).send(MAIL) == Temporary("disconnected")
    assert await sender(smtp).send(MAIL) == Sent(MESSAGE_ID)
    assert [m["headers"]["Message-ID"] for m in smtp.received] == [MESSAGE_ID, MESSAGE_ID]


REPLIES: list[tuple[str, str, Outcome]] = [
    ("connect", "421 4.3.2 too busy", Temporary("421 4.3.2")),
    ("connect", "554 no mail service here", Temporary("554")),
    ("mail", "451 4.3.0 try later", Temporary("451 4.3.0")),
    ("mail", "530 5.7.0 Authentication required", Temporary("530 5.7.0")),
    ("mail", "550 5.7.1 sender refused", Permanent("550 5.7.1")),
    ("mail", "552 5.3.4 too big", Permanent("552 5.3.4")),
    ("rcpt", "450 4.2.1 greylisted", Temporary("450 4.2.1")),
    ("rcpt", "452 4.2.2 mailbox full", Temporary("452 4.2.2")),
    ("rcpt", "421 4.7.0 go away", Temporary("421 4.7.0")),
    ("rcpt", "550 5.1.1 no such user", Permanent("550 5.1.1", token_dead=True)),
    ("rcpt", "556 5.1.10 null MX", Permanent("556 5.1.10", token_dead=True)),
    ("rcpt", "550 5.2.1 disabled", Permanent("550 5.2.1", token_dead=True)),
    ("rcpt", "550 no such user", Permanent("550", token_dead=True)),
    ("rcpt", "552 5.2.2 over quota", Permanent("552 5.2.2")),
    ("rcpt", "550 5.7.1 relaying denied", Permanent("550 5.7.1")),
    ("rcpt", "554 no", Permanent("554")),
    ("rcpt", "550 4.1.1 classes disagree", Permanent("550", token_dead=True)),
    ("data", "451 4.7.1 later", Temporary("451 4.7.1")),
    ("data", "554 5.7.1 spam", Permanent("554 5.7.1")),
    ("data", "550 refused", Permanent("550")),
    ("data", "550 5.1.1 no such user", Permanent("550 5.1.1", token_dead=True)),
]


@pytest.mark.parametrize(("step", "reply", "outcome"), REPLIES)
async def test_each_refusal_has_its_outcome_and_the_next_mail_passes(
    smtp: FakeSmtp, step: str, reply: str, outcome: Outcome
) -> None:
    smtp.arm(Fault(step, reply=reply))
    assert await sender(smtp).send(MAIL) == outcome
    assert smtp.received == []
    assert await sender(smtp).send(MAIL) == Sent(MESSAGE_ID)


@pytest.mark.parametrize("step", ["connect", "mail", "rcpt", "data"])
async def test_a_server_that_hangs_costs_the_time_out_and_no_more(
    smtp: FakeSmtp, step: str
) -> None:
    smtp.arm(Fault(step, action="hang"))
    async with asyncio.timeout(WAIT):
        assert await sender(smtp, timeout_s=0.3).send(MAIL) == Temporary("timeout")


@pytest.mark.parametrize("step", ["connect", "mail", "rcpt", "data"])
async def test_a_connection_that_drops_is_temporary(smtp: FakeSmtp, step: str) -> None:
    smtp.arm(Fault(step, action="close"))
    outcome = await sender(smtp).send(MAIL)
    assert outcome in (Temporary("disconnected"), Temporary("unreachable"))
    assert await sender(smtp).send(MAIL) == Sent(MESSAGE_ID)


@pytest.mark.parametrize(
    "fault", [Fault("quit", action="close"), Fault("quit", reply="500 what?")], ids=str
)
async def test_a_bad_goodbye_does_not_unsend_the_mail(smtp: FakeSmtp, fault: Fault) -> None:
    smtp.arm(fault)
    assert await sender(smtp).send(MAIL) == Sent(MESSAGE_ID)
    assert len(smtp.received) == 1


async def test_a_goodbye_that_hangs_past_the_time_out_is_still_sent(smtp: FakeSmtp) -> None:
    smtp.arm(Fault("quit", action="hang"))
    async with asyncio.timeout(WAIT):
        assert await sender(smtp, timeout_s=1.0).send(MAIL) == Sent(MESSAGE_ID)


async def test_a_server_that_dies_and_comes_back(smtp: FakeSmtp) -> None:
    smtp.arm(Fault("data", action="die"))
    assert await sender(smtp).send(MAIL) == Temporary("disconnected")
    await smtp.dead.wait()
    await smtp.stop()
    assert await sender(smtp).send(MAIL) == Temporary("unreachable")
    await smtp.start()
    assert await sender(smtp).send(MAIL) == Sent(MESSAGE_ID)


@pytest.mark.parametrize("left", [-1.0, 0.0, 59.0])
async def test_a_mail_with_under_a_minute_left_is_not_sent(smtp: FakeSmtp, left: float) -> None:
    assert await sender(smtp).send(mail(deadline_at=soon(left))) == Expired()
    assert smtp.connections == 0
    assert await sender(smtp).send(mail(deadline_at=soon(62))) == Sent(MESSAGE_ID)


@pytest.mark.parametrize(
    "to",
    [
        "",
        "nobody",
        "@example.com",
        "a@",
        "a b@example.com",
        "a@example.com>\r\nRCPT TO:<b@example.com",
        "a@example.com\nBcc: b@example.com",
        "a@exa\x00mple.com",
        "a@example.com, b@example.com",
        "a..b@example.com",
        "a@" + "x" * 300 + ".com",
        "x" * 65 + "@example.com",
        '"quoted"@example.com',
        "a@[127.0.0.1]",
    ],
)
async def test_no_address_that_is_none_reaches_the_server(smtp: FakeSmtp, to: str) -> None:
    outcome = await sender(smtp).send(mail(to=to))
    assert outcome == Permanent("bad_address", token_dead=True)
    assert smtp.connections == 0


async def test_addresses_outside_ascii(smtp: FakeSmtp) -> None:
    assert await sender(smtp).send(mail(to="민지@example.com")) == Sent(MESSAGE_ID)
    assert await sender(smtp).send(mail(to="minji@한국.example")) == Sent(MESSAGE_ID)
    assert [m["rcpt_to"] for m in smtp.received] == [
        ["민지@example.com"],
        ["minji@xn--3e0b707e.example"],
    ]
    async with FakeSmtp(utf8=False) as old:
        outcome = await sender(old).send(mail(to="민지@example.com"))
    assert outcome == Permanent("smtputf8_unsupported")


async def test_without_a_url_it_says_so() -> None:
    silent = SmtpSender(None, None)
    assert not silent.configured
    assert await silent.send(MAIL) == NotConfigured()


def _contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server on localhost, and of a client that trusts it."""
    certificate, key = self_signed(directory, "localhost")
    return serving(certificate, key), ssl.create_default_context(cafile=str(certificate))


async def test_tls_from_the_start_and_by_starttls_with_a_login(tmp_path: Path) -> None:
    server, client = _contexts(tmp_path)
    login = ("hub@dongne", "pa:ss/w@rd")
    user = "hub%40dongne:pa%3Ass%2Fw%40rd@"
    for implicit in (True, False):
        async with FakeSmtp(tls=server, implicit_tls=implicit, login=login) as smtp:
            url = f"smtp://{user}localhost:{smtp.port}?starttls=required"
            if implicit:
                url = f"smtps://{user}localhost:{smtp.port}"
            post = SmtpSender(url, FROM, timeout_s=WAIT, tls_context=client)
            assert await post.send(MAIL) == Sent(MESSAGE_ID)
            wrong = SmtpSender(url.replace("pa%3A", "no%3A"), FROM, tls_context=client)
            assert await wrong.send(MAIL) == Temporary("535 5.7.8")
            assert len(smtp.received) == 1


async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(tmp_path: Path) -> None:
    server, _ = _contexts(tmp_path)
    async with FakeSmtp(tls=server) as smtp:
        post = SmtpSender(f"{smtp.url}?starttls=required", FROM, timeout_s=WAIT)
        assert isinstance(await post.send(MAIL), Temporary)
        assert smtp.received == []


async def test_a_server_without_starttls_gets_no_password(smtp: FakeSmtp) -> None:
    post = SmtpSender(f"smtp://u:p@127.0.0.1:{smtp.port}?starttls=required", FROM, timeout_s=WAIT)
    assert await post.send(MAIL) == Temporary("smtp_error")
    assert smtp.received == []


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "start_tls"),
    [
        ("smtp://mail.example", "mail.example", 25, False, None),
        ("smtp://u:p@mail.example", "mail.example", 25, False, True),
        ("smtp://u:p@localhost:2525", "localhost", 2525, False, None),
        ("smtp://mail.example:587?starttls=required", "mail.example", 587, False, True),
        ("smtps://mail.example", "mail.example", 465, True, False),
        ("smtp://[::1]:2525", "::1", 2525, False, None),
    ],
)
def test_urls(url: str, host: str, port: int, tls: bool, start_tls: bool | None) -> None:
    server = SmtpServer.from_url(url)
    assert (server.host, server.port, server.tls) == (host, port, tls)
    assert server.start_tls is start_tls


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "http://mail.example",
        "smtp://",
        "smtp://s3cret@h:x",
        "smtp://[s3cret",
        "smtp://s3cret@h?x=y",
    ],
)
def test_a_url_that_is_wrong_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(MailSettingsError) as caught:
        SmtpServer.from_url(url)
    assert "s3cret" not in str(caught.value)


def test_the_password_is_in_no_repr() -> None:
    assert "s3cret" not in repr(SmtpServer.from_url("smtps://u:s3cret@mail.example"))


@pytest.mark.parametrize("mail_from", [None, "", "nobody", "A <a@b>\r\nBcc: c@d"])
def test_mail_from_must_be_an_address(mail_from: str | None) -> None:
    with pytest.raises(MailSettingsError, match="MAIL_FROM"):
        SmtpSender("smtp://localhost", mail_from)
