"""The catalogue of titles and bodies: complete in both languages, and never broken by a field."""

from typing import Any

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from protocol.texts import (
    BODY_CHARACTERS,
    CATALOGUE,
    GENERIC,
    LANGUAGES,
    TITLE_CHARACTERS,
    distance_text,
    is_one,
    language_of,
    one_line,
    render_push,
)

KINDS = list(CATALOGUE["ko"])


@pytest.mark.parametrize(
    ("kind", "fields", "ko", "en"),
    [
        (
            "question_urgent",
            {"title": "문 연 약국 있나요?", "distance_m": 800.0},
            ("800m 거리에서 급한 질문이 올라왔어요", "문 연 약국 있나요?"),
            ("Urgent question 800m from you", "문 연 약국 있나요?"),
        ),
        (
            "question_urgent",
            {"title": "문 연 약국 있나요?", "neighbourhood": "애월읍"},
            ("애월읍에서 급한 질문이 올라왔어요", "문 연 약국 있나요?"),
            ("Urgent question in 애월읍", "문 연 약국 있나요?"),
        ),
        (
            "answer_created",
            {"nickname": "민지", "excerpt": "네, 하나로마트 옆이요"},
            ("민지님이 답변을 남겼어요", "네, 하나로마트 옆이요"),
            ("민지 answered your question", "네, 하나로마트 옆이요"),
        ),
        (
            "answer_accepted",
            {"title": "약국", "points": 10},
            ("내 답변이 채택됐어요", "‘약국’ 질문에 남긴 답변이 채택돼서 10포인트를 받았어요."),
            (
                "Your answer was accepted",
                "Your answer to “약국” was accepted: you earned 10 points.",
            ),
        ),
        (
            "points_awarded",
            {"points": 1, "balance": 12345},
            ("1포인트를 받았어요", "지금까지 모은 포인트는 12,345포인트예요."),
            ("You earned 1 point", "You now have 12,345 points."),
        ),
        (
            "welcome",
            {"nickname": "민지"},
            ("민지님, 환영해요!", "궁금한 게 생기면 동네 사람들에게 물어보세요."),
            ("Welcome, 민지!", "Whenever you wonder about something, ask your neighbours."),
        ),
        (
            "shop_sale",
            {"title": "오늘만", "body": "귤 반값"},
            ("오늘만", "귤 반값"),
            ("오늘만", "귤 반값"),
        ),
    ],
)
def test_what_people_read(
    kind: str, fields: dict[str, Any], ko: tuple[str, str], en: tuple[str, str]
) -> None:
    assert render_push(kind, "ko-KR", fields) == ko
    assert render_push(kind, "en_GB", fields) == en


def test_both_languages_have_the_same_kinds() -> None:
    assert set(CATALOGUE) == set(LANGUAGES)
    assert {frozenset(texts) for texts in CATALOGUE.values()} == {frozenset(KINDS)}


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=500)


@given(
    kind=st.sampled_from(KINDS) | st.text(max_size=20),
    locale=st.none() | st.sampled_from(["ko", "en", "en-US", "fr"]) | st.text(max_size=10),
    fields=st.dictionaries(
        st.sampled_from(
            ["title", "body", "excerpt", "nickname", "neighbourhood", "distance_m", "points",
             "balance", "x"]
        ),
        values,
    ),
)  # fmt: skip
def test_every_notification_says_something_on_one_line(
    kind: str, locale: str | None, fields: dict[str, Any]
) -> None:
    title, body = render_push(kind, locale, fields)
    assert title
    assert body
    assert len(title) <= TITLE_CHARACTERS
    assert len(body) <= BODY_CHARACTERS
    assert one_line(title) == title.strip() == title
    assert one_line(body) == body
    title.encode()
    body.encode()


def test_braces_in_what_people_write_are_only_braces() -> None:
    fields = {"title": "{points} {0.__class__}", "body": "{", "points": 7}
    assert render_push(GENERIC, "ko", fields) == ("{points} {0.__class__}", "{")
    assert render_push("question_urgent", "ko", fields)[1] == "{points} {0.__class__}"


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        (None, "ko"), ("", "ko"), ("ko", "ko"), ("ko_KR", "ko"), ("en", "en"), ("EN-us", "en"),
        ("en_GB.UTF-8", "en"), ("fr-FR", "ko"), ("english", "ko"), ("-", "ko"),
    ],
)  # fmt: skip
def test_the_chain_of_languages(locale: str | None, language: str) -> None:
    assert language_of(locale) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_plural_rule_is_that_of_cldr(language: str) -> None:
    rule = Locale(language).plural_form
    assert all(is_one(language, n) == (rule(n) == "one") for n in range(3000))


@pytest.mark.parametrize(
    ("metres", "text"),
    [
        (0, "100m"), (49, "100m"), (149, "100m"), (150, "200m"), (949, "900m"), (950, "1.0km"),
        (1249, "1.2km"), (9949, "9.9km"), (9950, "10km"), (1_234_567, "1,235km"),
    ],
)  # fmt: skip
def test_distances(metres: int, text: str) -> None:
    assert distance_text(metres) == text


def test_one_line_keeps_joined_emoji_and_drops_what_hides() -> None:
    family = "👩‍👧 급해요"
    assert one_line(family) == family
    assert one_line("a\u202eb\u200bc\x00d\r\n e\ud800") == "abc d e"
