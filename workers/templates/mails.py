"""A notification as a mail: subject, text and HTML in the language of its title and body."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from babel.dates import format_time, format_timedelta
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from hub.domain.rules.quiet import zone_of
from protocol.texts import GENERIC, Field, first, language_of, one_line
from workers.templates.words import FRAMES, WORDS

_PAGES: Final = Environment(
    loader=PackageLoader("workers", "templates"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class MailText:
    subject: str
    text: str
    html: str


def render_mail(
    kind: str,
    locale: str | None,
    *,
    title: str,
    body: str,
    url: str,
    now: datetime,
    created_at: datetime,
    deadline_at: datetime | None = None,
    timezone: str | None = None,
    unsubscribe_url: str | None = None,
) -> MailText:
    """`title` and `body` as the notification has them, written in `locale`'s language.

    Relative times are of `now`; times of day are the reader's. A link that is not http(s) is left
    out. Never fails for what people wrote.
    """
    language = language_of(locale)
    words = WORDS[language].get(kind, WORDS[language][GENERIC])
    times = _times(language, now, created_at, deadline_at, timezone)
    heading, quote = one_line(title), one_line(body)
    lines = [first(choice, language, times) for choice in words.lines]
    page = {
        "language": language,
        "frame": FRAMES[language],
        "title": heading,
        "body": quote,
        "lines": [line for line in lines if line is not None],
        "button": words.button,
        "url": _web(url),
        "unsubscribe_url": _web(unsubscribe_url),
    }
    given: dict[str, Field] = {k: v for k, v in {"title": heading, "body": quote}.items() if v}
    return MailText(
        subject=first(words.subject, language, given) or heading or FRAMES[language].brand,
        text=_PAGES.get_template("mail.txt.j2").render(page),
        html=_PAGES.get_template("mail.html.j2").render(page),
    )


def _times(
    language: str,
    now: datetime,
    created_at: datetime,
    deadline_at: datetime | None,
    timezone: str | None,
) -> dict[str, Field]:
    """Without a deadline, or once it has come, nothing is said about it."""
    ago = min(created_at - now, timedelta(seconds=-1))
    times: dict[str, Field] = {
        "asked": format_timedelta(ago, add_direction=True, locale=language, threshold=1)
    }
    if deadline_at is not None and deadline_at > now:
        clock = FRAMES[language].clock
        times["left"] = format_timedelta(_whole(deadline_at - now), locale=language, threshold=1)
        times["until"] = format_time(deadline_at, clock, tzinfo=zone_of(timezone), locale=language)
    return times


def _whole(left: timedelta) -> timedelta:
    """Rounded down to its largest unit (Babel rounds up from the half): no promise of more time."""
    seconds = max(1, int(left.total_seconds()))
    unit = next(unit for unit in (86_400, 3600, 60, 1) if seconds >= unit)
    return timedelta(seconds=seconds // unit * unit)


def _web(url: str | None) -> str | None:
    """The link, when a reader may be sent there."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    fits = parts.scheme in {"http", "https"} and parts.hostname and url.isprintable()
    return url if fits and " " not in url else None
