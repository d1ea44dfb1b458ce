"""Mails over real SMTP to a local server that refuses, hangs, drops and dies on order."""

import asyncio
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiosmtplib import (
    SMTPDataError,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.script import Fault
from tests.fakes.smtp import FakeSmtp
from tests.tls import self_signed, serving
from tests.workers.channels.conftest import MAIL, mail, push, soon, to
from workers.channels.outcome import About, Act, Expired, Outcome, Permanent, Sent, Temporary
from workers.channels.smtp.answers import classify
from workers.channels.smtp.sender import MailSettingsError, SmtpSender, SmtpServer

FROM = "동네 <no-reply@dongne.example>"
MESSAGE_ID = f"<{MAIL.delivery_id}@dongne.example>"
WAIT = 5.0


def sender(smtp: FakeSmtp, **options: Any) -> SmtpSender:
    return SmtpSender(smtp.url, FROM, timeout_s=options.pop("timeout_s", WAIT), **options)


async def test_a_mail_arrives_with_both_forms_and_korean_names(smtp: FakeSmtp) -> None:
    assert await sender(smtp).post(MAIL) == Sent(MESSAGE_ID)
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
    assert await sender(smtp).post(MAIL) == Temporary("disconnected")
    assert await sender(smtp).post(MAIL) == Sent(MESSAGE_ID)
    assert [m["headers"]["Message-ID"] for m in smtp.received] == [MESSAGE_ID, MESSAGE_ID]


REPLIES: list[tuple[str, str, Act]] = [
    ("connect", "421 4.3.2 too busy", Act.RETRY),
    ("connect", "554 no mail service here", Act.RETRY),
    ("connect", "554 5.7.1 Client host [192.0.2.1] blocked using zen.example", Act.ALARM),
    ("connect", "421 4.3.2 Your IP(192.0.2.1) is filtered, register it at realip", Act.ALARM),
    ("ehlo", "550 bad name", Act.ALARM),
    ("ehlo", "421 4.3.2 closing", Act.RETRY),
    ("mail", "451 4.3.0 try later", Act.RETRY),
    ("mail", "530 5.7.0 Authentication required", Act.ALARM),
    ("mail", "550 5.7.1 sender refused", Act.ALARM),
    ("mail", "550 5.7.60 Client does not have permissions to send as this sender", Act.ALARM),
    ("mail", "552 5.3.4 too big", Act.DROP),
    ("mail", "552 too big", Act.DROP),
    ("rcpt", "450 4.2.1 greylisted", Act.PAUSE),
    ("rcpt", "451 4.7.1 Greylisting in action, please come back later", Act.PAUSE),
    ("rcpt", "452 4.2.2 mailbox full", Act.PAUSE),
    ("rcpt", "450 mailbox busy", Act.PAUSE),
    ("rcpt", "452 4.3.1 Insufficient system resources", Act.RETRY),
    ("rcpt", "451 4.1.8 Domain of sender address does not resolve", Act.ALARM),
    ("rcpt", "421 4.7.0 go away", Act.RETRY),
    ("rcpt", "550 5.1.1 no such user", Act.PRUNE),
    ("rcpt", "550 5.1.1 <relay-spam@x.kr>: User unknown in local recipient table", Act.PRUNE),
    ("rcpt", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by lookup", Act.PRUNE),
    ("rcpt", "556 5.1.10 null MX", Act.PRUNE),
    ("rcpt", "550 5.1.6 moved", Act.PRUNE),
    ("rcpt", "550 5.1.1 <a@x.kr>: User unknown in relay recipient table", Act.PRUNE),
    ("rcpt", "550 no such user at relay.x.kr", Act.PRUNE),
    ("rcpt", "550 no such user", Act.PRUNE),
    ("rcpt", "550 Unknown user", Act.PRUNE),
    ("rcpt", "550 sorry, no mailbox here by that name (#5.1.1)", Act.PRUNE),
    ("rcpt", "554 delivery error: dd This user doesn't have a yahoo.example account", Act.PRUNE),
    ("rcpt", "550 5.0.0 <a@x.kr>... User unknown", Act.PRUNE),
    ("rcpt", "553 Requested action not taken: mailbox name not allowed", Act.DROP),
    ("rcpt", "550 relay not permitted", Act.ALARM),
    ("rcpt", "550 Relay operation rejected", Act.ALARM),
    ("rcpt", "550 We do not relay", Act.ALARM),
    ("rcpt", "550 5.7.1 Unable to relay for a@x.kr", Act.ALARM),
    ("rcpt", "550 5.7.1 relaying denied", Act.ALARM),
    ("rcpt", "554 5.7.1 <a@x.kr>: Relay access denied", Act.ALARM),
    ("rcpt", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", Act.ALARM),
    ("rcpt", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", Act.ALARM),
    ("rcpt", "550 5.1.0 <us@x.kr>: Sender address rejected: User unknown", Act.ALARM),
    ("rcpt", "550 Sender verify failed", Act.ALARM),
    ("rcpt", "550 You are registered as spammer", Act.ALARM),
    ("rcpt", "550 5.1.8 Access denied, bad outbound sender", Act.ALARM),
    ("rcpt", "504 5.5.2 <host>: Helo command rejected: need fully-qualified", Act.ALARM),
    ("rcpt", "503 bad sequence", Act.ALARM),
    ("rcpt", "550 5.7.509 Access denied, sending domain does not pass DMARC", Act.ALARM),
    ("rcpt", "550 5.3.2 system not accepting", Act.RETRY),
    ("rcpt", "550 5.2.1 disabled", Act.DROP),
    ("rcpt", "550 Account disabled", Act.DROP),
    ("rcpt", "550 5.1.2 no such domain", Act.DROP),
    ("rcpt", "550 Unrouteable address", Act.DROP),
    ("rcpt", "550 5.4.1 Recipient address rejected: Access denied", Act.DROP),
    ("rcpt", "550 5.5.0 Requested action not taken: mailbox unavailable", Act.DROP),
    ("rcpt", "552 5.2.2 over quota", Act.DROP),
    ("rcpt", "551 User not local; please try elsewhere", Act.DROP),
    ("rcpt", "554 no", Act.DROP),
    ("rcpt", "550 4.1.1 classes disagree", Act.DROP),
    ("data", "451 4.7.1 later", Act.PAUSE),
    ("data", "421 4.3.2 closing", Act.RETRY),
    ("data", "554 5.7.1 spam", Act.ALARM),
    ("data", "554 5.7.1 DAS51: Your mail is blocked automatically by anti-spam system", Act.ALARM),
    ("data", "550 Transaction failed. (SPAM_SUSPECT:IP_CONTROL)", Act.ALARM),
    ("data", "552 5.3.4 too big", Act.DROP),
    ("data", "554 5.6.0 not these characters", Act.DROP),
    ("data", "550 refused", Act.DROP),
    ("data", "550 5.1.1 no such user", Act.PRUNE),
]


def code_of(reply: str) -> str:
    found = re.match(r"(\d{3})(?: ([245]\.\d+\.\d+))?", reply) or re.match("", "")
    last = re.search(r"\(#([\d.]+)\)", reply)
    assert found is not None
    enhanced = last[1] if last else found[2]
    return f"{found[1]} {enhanced}" if enhanced and enhanced[0] == reply[0] else found[1]


@pytest.mark.fault(14)
@pytest.mark.parametrize(("step", "reply", "act"), REPLIES)
async def test_each_refusal_has_its_outcome_and_the_next_mail_passes(
    smtp: FakeSmtp, step: str, reply: str, act: Act
) -> None:
    # EHLO is said twice: before STARTTLS is thought of, and after
    smtp.arm(Fault(step, reply=reply, times=2 if reply == "550 bad name" else 1))
    assert await sender(smtp).post(MAIL) == act.outcome(code_of(reply))
    assert smtp.received == []
    assert await sender(smtp).post(MAIL) == Sent(MESSAGE_ID)


@pytest.mark.fault(14)
@given(
    code=st.integers(400, 599),
    enhanced=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 30)),
    said=st.text(max_size=200),
    step=st.sampled_from([SMTPSenderRefused, SMTPRecipientRefused, SMTPDataError]),
)
def test_no_reply_suppresses_anybody_by_chance(
    code: int, enhanced: tuple[int, int] | None, said: str, step: type[SMTPResponseException]
) -> None:
    """Only the three codes that say so; of 5.7.x, and of whatever is not permanent, none."""
    text = said if enhanced is None else f"{code // 100}.{enhanced[0]}.{enhanced[1]} {said}"
    error = step(code, text) if step is SMTPDataError else step(code, text, "a@b.kr")  # type: ignore[call-arg]
    outcome = classify(error)
    assert isinstance(outcome, Temporary | Permanent)
    assert re.fullmatch(r"\d{3}( \d\.\d{1,3}\.\d{1,3})?", outcome.code)
    if isinstance(outcome, Permanent) and outcome.token_dead:
        assert code >= 500
        assert enhanced in {(1, 1), (1, 6), (1, 10)}


@pytest.mark.parametrize("step", ["connect", "mail", "rcpt", "data"])
async def test_a_server_that_hangs_costs_the_time_out_and_no_more(
    smtp: FakeSmtp, step: str
) -> None:
    smtp.arm(Fault(step, action="hang"))
    async with asyncio.timeout(WAIT):
        assert await sender(smtp, timeout_s=0.3).post(MAIL) == Temporary("timeout")


@pytest.mark.parametrize("step", ["connect", "mail", "rcpt", "data"])
async def test_a_connection_that_drops_is_temporary(smtp: FakeSmtp, step: str) -> None:
    smtp.arm(Fault(step, action="close"))
    outcome = await sender(smtp).post(MAIL)
    assert outcome in (Temporary("disconnected"), Temporary("unreachable"))
    assert await sender(smtp).post(MAIL) == Sent(MESSAGE_ID)


@pytest.mark.parametrize(
    "fault", [Fault("quit", action="close"), Fault("quit", reply="500 what?")], ids=str
)
async def test_a_bad_goodbye_does_not_unsend_the_mail(smtp: FakeSmtp, fault: Fault) -> None:
    smtp.arm(fault)
    assert await sender(smtp).post(MAIL) == Sent(MESSAGE_ID)
    assert len(smtp.received) == 1


async def test_a_goodbye_that_hangs_past_the_time_out_is_still_sent(smtp: FakeSmtp) -> None:
    smtp.arm(Fault("quit", action="hang"))
    async with asyncio.timeout(WAIT):
        assert await sender(smtp, timeout_s=1.0).post(MAIL) == Sent(MESSAGE_ID)


async def test_a_server_that_dies_and_comes_back(smtp: FakeSmtp) -> None:
    smtp.arm(Fault("data", action="die"))
    assert await sender(smtp).post(MAIL) == Temporary("disconnected")
    await smtp.dead.wait()
    await smtp.stop()
    assert await sender(smtp).post(MAIL) == Temporary("unreachable")
    await smtp.start()
    assert await sender(smtp).post(MAIL) == Sent(MESSAGE_ID)


@pytest.mark.parametrize("left", [-1.0, 0.0, 59.0])
async def test_a_mail_with_under_a_minute_left_is_not_sent(smtp: FakeSmtp, left: float) -> None:
    assert await sender(smtp).post(mail(deadline_at=soon(left))) == Expired()
    assert smtp.connections == 0
    assert await sender(smtp).post(mail(deadline_at=soon(62))) == Sent(MESSAGE_ID)


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
        '""@example.com',
        "x <a@b.example>, y <c@d.example>",
        "a@\U0001f4a9.example",
        "a@[127.0.0.1]",
    ],
)
async def test_no_address_that_is_none_reaches_the_server(smtp: FakeSmtp, to: str) -> None:
    outcome = await sender(smtp).post(mail(to=to))
    assert outcome == Permanent("bad_address")
    assert smtp.connections == 0


@pytest.mark.fault(16, 17)
@pytest.mark.parametrize(
    ("to", "rcpt"),
    [
        ("kim@faß.example", "kim@xn--fa-hia.example"),
        ("kim@βόλος.example", "kim@xn--nxasmm1c.example"),
        ("Kim <nobody@Example.COM>", "nobody@example.com"),
        ('"kim"@example.com', "kim@example.com"),
        ('"kim lee"@example.com', '"kim lee"@example.com'),
    ],
)
async def test_each_spelling_reaches_the_mailbox_it_names(
    smtp: FakeSmtp, to: str, rcpt: str
) -> None:
    assert await sender(smtp).post(mail(to=to)) == Sent(MESSAGE_ID)
    assert smtp.received[0]["rcpt_to"] == [rcpt]


async def test_addresses_outside_ascii(smtp: FakeSmtp) -> None:
    assert await sender(smtp).post(mail(to="민지@example.com")) == Sent(MESSAGE_ID)
    assert await sender(smtp).post(mail(to="minji@한국.example")) == Sent(MESSAGE_ID)
    assert [m["rcpt_to"] for m in smtp.received] == [
        ["민지@example.com"],
        ["minji@xn--3e0b707e.example"],
    ]
    async with FakeSmtp(utf8=False) as old:
        outcome = await sender(old).post(mail(to="민지@example.com"))
    assert outcome == Permanent("smtputf8_unsupported")


async def test_a_notification_is_written_in_its_readers_language(smtp: FakeSmtp) -> None:
    note = push(locale="en", title="Someone asks", body="Is a pharmacy open?", urgent=True)
    assert await sender(smtp).send(to("minji@example.com"), note) == Sent(MESSAGE_ID)
    (got,) = smtp.received
    assert got["rcpt_to"] == ["minji@example.com"]
    assert got["headers"]["Content-Language"] == "en"
    assert got["subject"] == "Urgent: Is a pharmacy open?"
    assert note.url in got["text"]


@pytest.mark.parametrize(("urgent", "outcome"), [(True, Expired()), (False, Sent(MESSAGE_ID))])
async def test_only_what_is_urgent_is_too_late_for_a_mail(
    smtp: FakeSmtp, urgent: bool, outcome: Outcome
) -> None:
    note = push(deadline_at=soon(59), urgent=urgent)
    assert await sender(smtp).send(to("minji@example.com"), note) == outcome


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
            assert await post.post(MAIL) == Sent(MESSAGE_ID)
            wrong = SmtpSender(url.replace("pa%3A", "no%3A"), FROM, tls_context=client)
            assert await wrong.post(MAIL) == Temporary("535 5.7.8", about=About.US)
            smtp.arm(Fault("auth", reply="454 4.7.0 Temporary failure", times=2))
            assert await post.post(MAIL) == Temporary("454 4.7.0")
            assert len(smtp.received) == 1


async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(tmp_path: Path) -> None:
    server, _ = _contexts(tmp_path)
    async with FakeSmtp(tls=server) as smtp:
        post = SmtpSender(f"{smtp.url}?starttls=required", FROM, timeout_s=WAIT)
        assert isinstance(await post.post(MAIL), Temporary)
        assert smtp.received == []


async def test_a_server_without_starttls_gets_no_password(smtp: FakeSmtp) -> None:
    post = SmtpSender(f"smtp://u:p@127.0.0.1:{smtp.port}?starttls=required", FROM, timeout_s=WAIT)
    assert await post.post(MAIL) == Temporary("smtp_error", about=About.US)
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
