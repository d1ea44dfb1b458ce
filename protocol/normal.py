"""One normal form for what is compared by its text: hashtags, kinds, categories, regions.

Two spellings that people read as one word are one word here: composed and decomposed Korean (macOS
writes NFD), full-width and half-width signs, capitals, and characters that show nothing.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, TypeVar

MAX_HASHTAG: Final = 50
MAX_CODE: Final = 64

_JOINER: Final = "\u200d"
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Default_Ignorable_Code_Point of the Unicode Character Database, without the joiner."""

_JAMO: Final = re.compile("([\u3131-\u318e]+)")
_HALF_WIDTH_JAMO: Final = {
    point: int(unicodedata.decomposition(chr(point)).split()[1], 16)
    for point in range(0xFFA1, 0xFFDD)
    if unicodedata.decomposition(chr(point))
}


def normal(text: str) -> str:
    """The form under which a text is kept and looked for: NFKC_Casefold of the Unicode Standard
    (§3.13), outer space cut and inner space single. Empty for a text that shows nothing.

    Two exceptions keep what people see: a joiner between emoji stays (a family stays one sign),
    and letters of Hangul that stand alone (ㅋㅋ) are not taken for pieces of a syllable.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    shown = _visible(text).translate(_HALF_WIDTH_JAMO)
    return " ".join(_nfkc(_nfkc(shown).casefold()).split())


def hashtags_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Their normal forms without the sign in front, each once (S2-042); what shows nothing is left
    out. Raises ValueError for one that has become too long.
    """
    tags = tuple(dict.fromkeys(tag for text in texts if (tag := normal(text).lstrip("# "))))
    if any(len(tag) > MAX_HASHTAG for tag in tags):
        raise ValueError(f"A hashtag has {MAX_HASHTAG} characters at most")
    return tags


def words_of(text: str) -> tuple[str, ...]:
    """The words of what is searched for, in their normal form. Raises ValueError where none is."""
    words = tuple(dict.fromkeys(normal(text).split()))
    if not words:
        raise ValueError("There is nothing to search for")
    return words


C = TypeVar("C", str, "str | None")


def code_of(text: C) -> C:
    """The normal form of a kind, category or region. Raises ValueError for one that shows nothing
    or has become too long.
    """
    if text is None:
        return text
    code = normal(text)
    if not 0 < len(code) <= MAX_CODE:
        raise ValueError(f"A code has 1 to {MAX_CODE} characters")
    return code


def _nfkc(text: str) -> str:
    parts = _JAMO.split(text)
    parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
    return "".join(parts)


def _visible(text: str) -> str:
    text = _INVISIBLE.sub("", text)
    head, *tails = text.split(_JOINER)
    for tail in tails:
        head += (_JOINER if _join(head, tail) else "") + tail
    return head


def _join(before: str, behind: str) -> bool:
    """Whether a joiner stands between two emoji (of which the first may have a skin)."""
    return (
        bool(before and behind)
        and unicodedata.category(before[-1]) in ("So", "Sk")
        and unicodedata.category(behind[0]) == "So"
    )
