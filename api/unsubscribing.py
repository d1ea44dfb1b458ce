"""The page behind a mail's link, in its reader's language. It holds a form and no script."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Final

from aiohttp import web

from api.headers import CSP
from protocol.links import Scope
from protocol.texts import language_of

FIELD: Final = "List-Unsubscribe"
CLICK: Final = "One-Click"
"""RFC 8058 §3.1: what a POST must say."""

_STYLE: Final = (
    "body{font:16px/1.6 system-ui,sans-serif;margin:0 auto;max-width:30rem;padding:2rem 1rem}"
    "button{font:inherit;padding:.6rem 1.2rem}:root{color-scheme:light dark}"
)
_POLICY: Final = (
    CSP.replace("form-action 'none'", "form-action 'self'")
    + f"; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
)


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    ask: dict[Scope, str]
    button: str
    done: dict[Scope, str]


_WORDS: Final = {
    "ko": _Words(
        "이메일 알림",
        {"digest": "매일 아침 소식 메일을 그만 받을까요?", "all": "이메일 알림을 그만 받을까요?"},
        "그만 받기",
        {
            "digest": "이제 아침 소식 메일을 보내지 않아요.",
            "all": "이제 이메일 알림을 보내지 않아요.",
        },
    ),
    "en": _Words(
        "Email notifications",
        {
            "digest": "Stop the daily digest by email?",
            "all": "Stop all notifications by email?",
        },
        "Unsubscribe",
        {"digest": "You will get no more digests.", "all": "You will get no more emails."},
    ),
}


def page(locale: str, scope: Scope, *, done: bool) -> web.Response:
    language = language_of(locale)
    words = _WORDS[language]
    text = words.done[scope] if done else words.ask[scope]
    form = (
        f'<form method="post"><input type="hidden" name="{FIELD}" value="{CLICK}">'
        f"<button>{escape(words.button)}</button></form>"
    )
    body = (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(words.title)}</title><style>{_STYLE}</style>"
        f"<main><h1>{escape(words.title)}</h1><p>{escape(text)}</p>{'' if done else form}</main>"
    )
    response = web.Response(text=body, content_type="text/html", charset="utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    # without a referrer a browser's own form says `Origin: null`, which is nobody's
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
