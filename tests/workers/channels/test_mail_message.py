"""A mail's bytes: whatever people write, the headers are ours and the texts arrive."""

import base64
import email
import email.policy
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.texts import one_line
from tests.workers.channels.conftest import MAIL, mail
from workers.channels.smtp.message import Mail, mail_bytes, mailbox

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SENDER = mailbox("동네 <no-reply@dongne.example>")
EXPECTED = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Content-Language",
    "MIME-Version",
    "Content-Type",
}


def read(message: Mail) -> tuple[bytes, EmailMessage]:
    to = mailbox(message.to, message.to_name)
    raw = mail_bytes(message, SENDER, to, NOW)
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return raw, parsed


@given(
    subject=st.text(max_size=300),
    name=st.text(max_size=100),
    text=st.text(max_size=300),
    html=st.text(max_size=300),
)
def test_no_text_adds_a_header_or_breaks_a_line(
    subject: str, name: str, text: str, html: str
) -> None:
    raw, parsed = read(mail(subject=subject, to_name=name, text=text, html=html))
    assert set(parsed.keys()) == EXPECTED
    assert len(parsed.keys()) == len(EXPECTED)
    assert parsed["To"].addresses[0].addr_spec == "minji@example.com"
    assert len(parsed["To"].addresses) == 1
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")


LONG = (
    "Commande et livraison, Abo actualités digitales 20 semaines d’abonnement à 24 heures, Tribune",
    "문 연 약국 있나요? 지금 연동에서 문을 연 약국을 찾아요 지금 연동에서 문을 연 약국을 찾아요",
    "😀" * 60,
    "a" * 150 + "é",
)


@pytest.mark.fault(17)
@pytest.mark.parametrize("text", LONG)
def test_lines_with_encoded_words_are_short(
    text: str, record_property: Callable[[str, object], None]
) -> None:
    raw, parsed = read(mail(subject=text, to_name=text, headers={"X-" + "n" * 60: text}))
    lines = [line for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n") if b"=?" in line]
    words = re.findall(rb"=\?.*?\?=", b" ".join(lines))
    assert max(len(line) for line in lines) <= 76
    assert max(len(word) for word in words) <= 75
    for word in words:  # RFC 2047 §5: each word is whole by itself
        base64.b64decode(word[10:-2]).decode()
    assert str(parsed["Subject"]) == text
    record_property("seen", f"longest line {max(len(line) for line in lines)}")


@pytest.mark.fault(17)
@given(st.text(max_size=200))
def test_no_text_makes_a_line_with_encoded_words_too_long(text: str) -> None:
    raw, _ = read(mail(subject=text, to_name=text))
    assert all(len(line) <= 76 for line in raw.split(b"\r\n") if b"=?utf-8?" in line)


def test_the_language_that_is_told_is_that_of_the_texts() -> None:
    for locale, language in (("en-GB", "en"), ("ja", "ko"), ("", "ko"), ("en\r\nX: y", "ko")):
        _, parsed = read(mail(locale=locale))
        assert parsed["Content-Language"] == language


@given(st.text(alphabet="가나다 라마바abc,<>\"@'()😀", max_size=60))
def test_names_and_subjects_arrive_as_written(text: str) -> None:
    raw, parsed = read(mail(subject=text, to_name=text))
    assert str(parsed["Subject"]) == one_line(text)
    # The new parser puts a space between the encoded words of a name, against RFC 2047 §6.2
    to = email.message_from_bytes(raw)["To"].removesuffix("<minji@example.com>").rstrip()
    name = str(make_header(decode_header(to))) if "=?" in to else parsed["To"].addresses[0]
    assert getattr(name, "display_name", name) == one_line(text)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=300))
def test_bodies_arrive_as_written(text: str) -> None:
    _, parsed = read(mail(text=text, html=text))
    plain, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert plain is not None
    assert html is not None
    for part in (plain, html):
        assert part.get_content().replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")


def test_a_long_unsubscribe_link_stays_on_one_line_and_readable() -> None:
    link = f"<https://dongne.example/api/v1/unsubscribe/{'x' * 300}>"
    headers = {"List-Unsubscribe": link, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    raw, _ = read(mail(headers=headers))
    assert f"List-Unsubscribe: {link}\r\n".encode() in raw


def test_further_headers_never_replace_ours_or_smuggle_others() -> None:
    _, parsed = read(
        mail(
            headers={
                "Message-ID": "<other@x>",
                "Bad Name": "x",
                "X-Request-ID": "r-1\r\nBcc: b@example.com",
            }
        )
    )
    assert parsed["Message-ID"] == f"<{MAIL.delivery_id}@dongne.example>"
    assert parsed["X-Request-ID"] == "r-1 Bcc: b@example.com"
    assert parsed["Bcc"] is None
    assert set(parsed.keys()) == EXPECTED | {"X-Request-ID"}


def test_an_encoded_word_in_a_subject_is_shown_as_it_was_written() -> None:
    sneaky = "=?utf-8?q?a=0D=0ABcc:_b=40example.com?="
    raw, parsed = read(mail(subject=sneaky, to_name=sneaky))
    assert parsed["Subject"] == sneaky
    assert set(parsed.keys()) == EXPECTED
    assert b"Bcc" not in raw
