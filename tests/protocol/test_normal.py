"""What people read as one word is one word, and what they see stays."""

import unicodedata
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import HubError
from protocol.normal import code_of, hashtags_of, normal
from protocol.payload import read
from protocol.rest.notifications import InboxQuery, Notify
from protocol.rest.questions import Ask, QuestionsQuery

Seen = Callable[[str, object], None]
pytestmark = pytest.mark.fault(16)

SAME = {
    "composed and decomposed Korean": ("약국", unicodedata.normalize("NFD", "약국")),
    "full width": ("＃Ｐｈａｒｍａｃｙ２４", "pharmacy24"),
    "half-width kana": ("ｶﾌｪ", "カフェ"),
    "half-width letters of Hangul": ("ﾡﾡ", "ㄱㄱ"),
    "capitals": ("STRASSE", "straße"),
    "final sigma": ("ΟΔΟΣ", "οδος"),
    "zero-width space": ("약\u200b국", "약국"),
    "zero-width joiner in a word": ("phar\u200dmacy", "pharmacy"),
    "byte order mark": ("\ufeff약국", "약국"),
    "soft hyphen": ("phar\u00admacy", "pharmacy"),
    "Hangul filler": ("약국\u3164", "약국"),
    "direction marks": ("\u202e약국\u200f", "약국"),
    "ideographic and unbreakable space": ("\u3000제주\u00a0카페 ", "제주 카페"),
    "ligature": ("ﬁsh", "fish"),
    "variation selector": ("☕\ufe0f", "☕"),
    "accent apart": ("Cafe\u0301", "café"),
}


@pytest.mark.parametrize("name", SAME)
def test_two_spellings_are_one_word(name: str) -> None:
    left, right = SAME[name]
    assert hashtags_of([left]) == hashtags_of([right])
    assert hashtags_of([left, right]) == hashtags_of([left]), "each once"


@pytest.mark.parametrize(
    "text", ["ㅋㅋ", "👩‍👩‍👧", "👨🏽‍⚕", "❤", "제주", "カフェ", "c++", "o'hare"]
)
def test_what_people_see_stays(text: str) -> None:
    assert normal(text) == text


def test_different_words_stay_different() -> None:
    words = ["약국", "약구", "ㅇㅏ", "아", "👩👩👧", "👩‍👩‍👧", "cafe", "café", "ー", "一"]
    assert len({normal(word) for word in words}) == len(words)


def test_what_shows_nothing_is_no_hashtag_and_no_code() -> None:
    assert hashtags_of(["#", " ＃ ", "\u200b", "\u3164", "#\u2060"]) == ()
    with pytest.raises(ValueError, match="1 to 64"):
        code_of("\u200b")


@given(st.text(max_size=60))
def test_the_normal_form_is_its_own(text: str) -> None:
    once = normal(text)
    assert normal(once) == once
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        if not any("\u3131" <= char <= "\u318e" or "\uffa1" <= char <= "\uffdc" for char in text):
            assert normal(unicodedata.normalize(form, text)) == once


def test_the_doors_forms_hold_it(record_property: Seen) -> None:
    nfd = unicodedata.normalize("NFD", "약국")
    ask = read(
        {"title": "t", "content": "c", "hashtags": [f"#{nfd}", "약국"], "category": "Ｆood"}, Ask
    )
    assert (ask.hashtags, ask.category) == (("약국",), "food")
    query = msgspec.convert({"hashtags": f"{nfd}，ＣＡＦÉ,", "category": "FOOD"}, QuestionsQuery)
    assert (query.tags, query.category) == (["약국", "café"], "food")
    note = read({"kind": "Ｏrder", "title": "t", "body": "b", "userId": "u"}, Notify)
    assert note.kind == "order" == msgspec.convert({"kind": "ORDER\u200b"}, InboxQuery).kind
    record_property("seen", "약국 in NFC, NFD, full width and with a zero-width space: one hashtag")


@pytest.mark.parametrize("tag", ["ﷺ" * 50, "㍿" * 20])
def test_a_hashtag_that_becomes_too_long_is_refused(tag: str) -> None:
    for given_ in ([tag], ["a", tag]):
        with pytest.raises(HubError, match="50 characters"):
            read({"title": "t", "content": "c", "hashtags": given_}, Ask)
    with pytest.raises(msgspec.ValidationError, match="50 characters"):
        msgspec.convert({"hashtags": tag}, QuestionsQuery)
