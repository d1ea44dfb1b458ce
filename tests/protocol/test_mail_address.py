"""Mail addresses: every spelling of a mailbox is one mailbox, and no text becomes another's."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.mail_address import BadAddress, comparison_key, normal_form, read_address

SAME = [
    ("nobody@example.com", ["nobody@Example.COM", "Nobody@example.com", "NOBODY@EXAMPLE.COM"]),
    ("nobody@example.com", ["Kim <nobody@Example.COM>", '"Kim, Lee" <nobody@example.com>']),
    ("nobody@example.com", ["<nobody@example.com>", " nobody@example.com ", "nobody@example.com."]),
    ("nobody@example.com", ['"nobody"@example.com', '"no\\body"@example.com']),
    ("nobody@example.com", ["nobody@ｅｘａｍｐｌｅ.com", "nobody@example。com"]),
    ("kim@faß.example", ["KIM@FAß.example", "kim@xn--fa-hia.example"]),
    ("minji@한국.example", ["minji@xn--3e0b707e.example", "minji@\u1112\u1161\u11ab국.example"]),
    ('"kim lee"@example.com', ['"Kim Lee"@example.com', '"kim\\ lee"@EXAMPLE.com']),
    ("caf\u00e9@example.com", ["cafe\u0301@example.com"]),
]


@pytest.mark.fault(16)
@pytest.mark.parametrize(("one", "others"), SAME)
def test_spellings_of_one_mailbox_have_one_key(one: str, others: list[str]) -> None:
    assert {comparison_key(other) for other in others} == {comparison_key(one)}


@pytest.mark.fault(16)
def test_different_mailboxes_stay_different() -> None:
    mailboxes = ["a@x.kr", "a+b@x.kr", "a.b@x.kr", "ab@x.kr", "a@x.example", '"a b"@x.kr']
    mailboxes += ["a@strasse.example", "a@straße.example", "strasse@x.kr", "straße@x.kr"]
    assert len({comparison_key(one) for one in mailboxes}) == len(mailboxes)


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("given", "domain"),
    [
        ("kim@faß.example", "xn--fa-hia.example"),
        ("kim@βόλος.example", "xn--nxasmm1c.example"),
        ("kim@Bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_domains_are_those_of_idna2008(
    given: str, domain: str, record_property: Callable[[str, object], None]
) -> None:
    assert read_address(given).domain == domain
    record_property("seen", f"{given} → {domain}")


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "text",
    [
        "a@\U0001f4a9.example",
        "a@-x.kr",
        "a@x-.kr",
        "a@x..kr",
        "a@" + "x" * 64 + ".kr",
        "a@xn--zzzz9999.example",
        "a@[127.0.0.1]",
        "a@x.kr, b@x.kr",
        "x <a@x.kr>, y <b@x.kr>",
        "a@x.kr>",
        "<a@x.kr",
        "Kim <a@x.kr>\r\nBcc: b@x.kr",
        "a@x\u200b.kr",
        '""@x.kr',
        "l" * 65 + "@x.kr",
        "l" * 60 + "@" + ".".join(["d" * 60] * 4),
    ],
)
def test_what_is_no_address_is_kept_and_never_mailed(text: str) -> None:
    with pytest.raises(BadAddress):
        read_address(text)
    assert normal_form(text) == text


@given(st.text(st.sampled_from('aB. "\\@<>,;é한ß\r\n\u200b'), max_size=24))
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    kept = normal_form(text)
    assert normal_form(kept) == kept
    assert comparison_key(kept) == comparison_key(text)
    try:
        mailbox = read_address(text).mailbox
    except BadAddress:
        return
    assert not set(mailbox) & set("\r\n<>") or mailbox.startswith('"')
    assert mailbox.isprintable()
