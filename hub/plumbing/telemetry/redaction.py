"""What never reaches a log: tokens, secrets, email, people's texts, coordinates (S1-39).

Two nets. A field whose name says that it holds such a thing loses its value, at any depth; and in
every remaining text whatever looks like one is cut out, because errors of libraries quote freely.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

CUT = "[redacted]"

_PRIVATE_NAMES = re.compile(
    r"""(?x) ^(?:
        .*(?:token|secret|password|passwd|passphrase|authorization|cookie|credential|api_?key|private_?key|dsn)s?
        | (?:jwt|auth|e?mail|email_?address|address|recipients?|to)
        | (?:title|body|content|text|excerpt|subject|html|message_?text|nickname|reason_?text)
        | (?:lat|lng|lon|latitude|longitude|location|position|coordinates?|accuracy_?m?)
        | (?:payload|data|args?|query|subscription|user_?key|kakao_?user_?key)
    )$""",
    re.IGNORECASE,
)

_NUMBER = r"-?\d{1,3}\.\d{3,20}"
_AXIS = r"['\"]?\b(?:lat|lng|lon|latitude|longitude)['\"]?\s{0,3}[:=]\s{0,3}"

# Every repetition has an upper bound: a hostile text of many kilobytes must not cost seconds.
_PRIVATE_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(?<![\w-])eyJ[\w-]{5,4096}\.[\w-]{1,4096}(?:\.[\w-]{1,4096})?"),
        CUT,
    ),  # a JSON web token
    (re.compile(r"\bdk_[\w.-]{16,512}"), CUT),  # a service key
    (re.compile(r"(?i)\b(bearer|basic)\s{1,3}[\w.~+/=-]{8,4096}"), r"\1 " + CUT),
    (re.compile(r"://[^/\s@]{1,512}@"), f"://{CUT}@"),  # who signs in, in a URL
    (re.compile(r"/unsubscribe/[^/\s\"']{1,4096}"), f"/unsubscribe/{CUT}"),
    (re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), CUT),  # an address of mail
    (re.compile(r"(?i)((?:token|secret|password|key|sig)=)[^\s&;,'\"]{1,4096}"), r"\1" + CUT),
    (re.compile(r"\b[\w-]{8,64}:APA91[\w-]{20,512}"), CUT),  # a token of FCM
    (
        re.compile(r"(/3/device|/fcm/send|/wpush/v\d|push\.apple\.com)/[^\s\"']{1,4096}"),
        rf"\1/{CUT}",
    ),
    (re.compile(rf"(?i)({_AXIS})-?\d{{1,3}}(?:\.\d{{1,20}})?"), r"\1" + CUT),
    (re.compile(rf"{_NUMBER}\s{{0,3}}[,;/ ]\s{{0,3}}{_NUMBER}"), CUT),  # a pair of coordinates
)

# One of these stands in whatever a pattern above finds: most texts are done after one look.
_SUSPECT = re.compile(
    r"@|=|eyJ|dk_|://|/unsubscribe/|APA91|/3/device/|/fcm/send/|/wpush/|push\.apple"
    r"|(?i:bearer|basic|lat|lng|lon)|\d\.\d{3}"
)

_MAX_DEPTH = 8
_MAX_TEXT = 16384
"""Of a longer text the beginning and the end stay; a stack's end says what happened."""


@lru_cache(maxsize=4096)
def _is_private(name: str) -> bool:
    return _PRIVATE_NAMES.match(name) is not None


class Redactor:
    """A structlog processor; `known` are the secrets in force, cut wherever they stand."""

    def __init__(self, known: Collection[str] = ()) -> None:
        whole = sorted((re.escape(text) for text in known if len(text) >= 8), key=len, reverse=True)
        self._known = re.compile("|".join(whole)) if whole else None

    def __call__(self, _logger: object, _method: str, line: Any) -> Any:
        return {
            name: value if name.startswith("_") else self._field(name, value, 0)
            for name, value in line.items()
        }

    def _field(self, name: str, value: object, depth: int) -> object:
        if _is_private(name) and not isinstance(value, bool | None):
            return CUT
        return self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth > _MAX_DEPTH:
            return CUT
        if isinstance(value, Mapping):
            return {k: self._field(str(k), v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(item, depth + 1) for item in value]
        return self.text(value if isinstance(value, str) else str(value))

    def text(self, text: str) -> str:
        if len(text) > _MAX_TEXT:
            text = f"{text[: _MAX_TEXT // 2]} … {text[-_MAX_TEXT // 2 :]}"
        if self._known:
            text = self._known.sub(CUT, text)
        if not _SUSPECT.search(text):
            return text
        for pattern, instead in _PRIVATE_TEXTS:
            text = pattern.sub(instead, text)
        return text
