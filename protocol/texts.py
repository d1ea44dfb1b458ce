"""Titles and bodies of notifications in Korean and English: for the inbox, push and mails alike.

Each place holds several sentences, best first; the first one whose fields are all there is used.
Fields, all optional: `title` of the question, `excerpt` of the answer, `nickname` of who answered
or has come, `neighbourhood` its name; the numbers `distance_m` (metres), `points`, `balance`.
A generic notification has the `title` and `body` that a service gave it.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

LANGUAGES: Final = ("ko", "en")
DEFAULT_LANGUAGE: Final = "ko"
GENERIC: Final = "notification"
DEVICE_TEST: Final = "device_test"
TITLE_CHARACTERS: Final = 120
BODY_CHARACTERS: Final = 300

Field = str | int


@dataclass(frozen=True, slots=True)
class Plural:
    """Two forms of one sentence, chosen by the number in `field`."""

    field: str
    one: str
    other: str


Sentence = str | Plural
Choice = tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Text:
    title: Choice
    body: Choice


_KO: Final[dict[str, Text]] = {
    "question_urgent": Text(
        title=(
            "{distance} 거리에서 급한 질문이 올라왔어요",
            "{neighbourhood}에서 급한 질문이 올라왔어요",
            "근처에서 급한 질문이 올라왔어요",
        ),
        body=("{title}", "지금 답해 줄 수 있는지 확인해 주세요."),
    ),
    "answer_created": Text(
        title=("{nickname}님이 답변을 남겼어요", "새 답변이 달렸어요"),
        body=("{excerpt}", "‘{title}’ 질문에 새 답변이 달렸어요.", "답변을 확인해 보세요."),
    ),
    "answer_accepted": Text(
        title=("내 답변이 채택됐어요",),
        body=(
            "‘{title}’ 질문에 남긴 답변이 채택돼서 {points}포인트를 받았어요.",
            "‘{title}’ 질문에 남긴 답변이 채택됐어요.",
            "도움을 나눠 주셔서 고마워요.",
        ),
    ),
    "points_awarded": Text(
        title=("{points}포인트를 받았어요", "포인트를 받았어요"),
        body=("지금까지 모은 포인트는 {balance}포인트예요.", "도움을 나눠 주셔서 고마워요."),
    ),
    "welcome": Text(
        title=("{nickname}님, 환영해요!", "환영해요!"),
        body=("궁금한 게 생기면 동네 사람들에게 물어보세요.",),
    ),
    "digest": Text(
        title=("어제 우리 동네에 올라온 질문 {count}개", "어제 우리 동네에 올라온 질문"),
        body=("가장 많은 답을 받은 질문은 ‘{title}’예요.", "어떤 질문이 있었는지 둘러보세요."),
    ),
    DEVICE_TEST: Text(title=("테스트 알림이에요",), body=("이 기기로 알림을 받을 수 있어요.",)),
    GENERIC: Text(title=("{title}", "새 알림이 있어요"), body=("{body}", "내용을 확인해 보세요.")),
}

_EN: Final[dict[str, Text]] = {
    "question_urgent": Text(
        title=(
            "Urgent question {distance} from you",
            "Urgent question in {neighbourhood}",
            "Urgent question near you",
        ),
        body=("{title}", "Can you answer it right now?"),
    ),
    "answer_created": Text(
        title=("{nickname} answered your question", "Your question has a new answer"),
        body=("{excerpt}", "There is a new answer to “{title}”.", "Have a look at the answer."),
    ),
    "answer_accepted": Text(
        title=("Your answer was accepted",),
        body=(
            Plural(
                "points",
                "Your answer to “{title}” was accepted: you earned {points} point.",
                "Your answer to “{title}” was accepted: you earned {points} points.",
            ),
            "Your answer to “{title}” was accepted.",
            "Thank you for helping out.",
        ),
    ),
    "points_awarded": Text(
        title=(
            Plural("points", "You earned {points} point", "You earned {points} points"),
            "You earned points",
        ),
        body=(
            Plural("balance", "You now have {balance} point.", "You now have {balance} points."),
            "Thank you for helping out.",
        ),
    ),
    "welcome": Text(
        title=("Welcome, {nickname}!", "Welcome!"),
        body=("Whenever you wonder about something, ask your neighbours.",),
    ),
    "digest": Text(
        title=(
            Plural(
                "count",
                "{count} question in your area since yesterday",
                "{count} questions in your area since yesterday",
            ),
            "Questions in your area since yesterday",
        ),
        body=("Most answered: “{title}”.", "See what your neighbours asked."),
    ),
    DEVICE_TEST: Text(title=("This is a test",), body=("Notifications arrive on this device.",)),
    GENERIC: Text(
        title=("{title}", "You have a new notification"), body=("{body}", "Have a look.")
    ),
}

CATALOGUE: Final[dict[str, dict[str, Text]]] = {"ko": _KO, "en": _EN}


def render_push(kind: str, locale: str | None, fields: Mapping[str, object]) -> tuple[str, str]:
    """Title and body of a notification, each on one line; a kind of no row is a generic one.

    Never fails: what is missing, or of another type, is as if it were not given.
    """
    language = language_of(locale)
    texts = CATALOGUE[language]
    text = texts.get(kind, texts[GENERIC])
    known = usable(fields)
    title = first(text.title, language, known) or ""
    body = first(text.body, language, known) or ""
    return shorten(title, TITLE_CHARACTERS), shorten(body, BODY_CHARACTERS)


def language_of(*locales: str | None) -> str:
    """`en-GB` or `en_GB` → `en`; of several the first one that we speak, of none Korean."""
    spoken = ((one or "").strip().replace("_", "-").partition("-")[0].lower() for one in locales)
    return next((language for language in spoken if language in LANGUAGES), DEFAULT_LANGUAGE)


def usable(fields: Mapping[str, object]) -> dict[str, Field]:
    """The fields that say something: texts on one line, numbers made whole; no other."""
    known: dict[str, Field] = {}
    for name, value in fields.items():
        if isinstance(value, str) and (line := one_line(value)):
            known[name] = line
        elif isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            known[name] = round(value)
    return known


def first(choice: Choice, language: str, fields: Mapping[str, Field]) -> str | None:
    """The first sentence whose fields are all given, filled in; None when there is none."""
    shown = {name: f"{v:,}" if isinstance(v, int) else v for name, v in fields.items()}
    distance = fields.get("distance_m")
    if isinstance(distance, int) and distance >= 0:
        shown["distance"] = distance_text(distance)
    for sentence in choice:
        form = _form(sentence, language, fields)
        try:
            return form.format_map(shown)
        except KeyError:
            continue
    return None


def _form(sentence: Sentence, language: str, fields: Mapping[str, Field]) -> str:
    if isinstance(sentence, str):
        return sentence
    return sentence.one if is_one(language, fields.get(sentence.field)) else sentence.other


def is_one(language: str, number: object) -> bool:
    """The plural rule of CLDR for whole numbers: English has `one`, Korean only `other`."""
    return language == "en" and number == 1


def distance_text(metres: int) -> str:
    """In steps of 100 m, nothing under them: `100m`, `800m`, `1.2km`, `12km`."""
    hundreds = max(1, (metres + 50) // 100)
    if hundreds < 10:
        return f"{hundreds * 100}m"
    return f"{hundreds / 10:.1f}km" if hundreds < 100 else f"{(metres + 500) // 1000:,}km"


def one_line(text: str) -> str:
    """One line without control, format or lone surrogate characters; runs of blanks become one.

    The joiner inside emoji (U+200D) stays.
    """
    kept = (" " if _breaks(c) else c for c in text if c == "\u200d" or not _hidden(c))
    return " ".join("".join(kept).split())


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, an ellipsis at the end when something was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _breaks(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Zl", "Zp"}


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in {"Cf", "Cs"}
