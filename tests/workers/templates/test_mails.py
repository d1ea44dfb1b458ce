"""Mails as people read them: both languages, both forms, whatever was written."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.texts import CATALOGUE, DEVICE_TEST, LANGUAGES, one_line, render_push
from workers.templates.mails import MailText, render_mail
from workers.templates.words import FRAMES, WORDS

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KINDS = list(CATALOGUE["ko"])


def render(kind: str = "question_urgent", locale: str = "ko", **changes: Any) -> MailText:
    given: dict[str, Any] = {
        "title": "애월읍에서 급한 질문이 올라왔어요",
        "body": "지금 문 연 약국 있나요?",
        "url": "https://dongne.example/questions/q-1?from=mail&n=1",
        "now": NOW,
        "created_at": NOW - timedelta(seconds=245),
        "deadline_at": NOW + timedelta(seconds=359),
    }
    return render_mail(kind, locale, **{**given, **changes})


class Page(HTMLParser):
    """Tags, links and text of a page, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.language = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.links += [found["href"] or ""] if "href" in found else []
        self.language = found.get("lang") or self.language

    def handle_data(self, data: str) -> None:
        self.words += data


def test_an_urgent_mail_in_korean() -> None:
    mail = render()
    assert mail.subject == "[급한 질문] 지금 문 연 약국 있나요?"
    assert "4분 전에 올라온 질문이에요." in mail.text
    assert "오후 6:05까지, 앞으로 5분 안에 답해 주시면 큰 도움이 돼요." in mail.text
    page = Page(mail.html)
    assert page.language == "ko"
    assert "앞으로 5분 안에" in page.words
    assert "https://dongne.example/questions/q-1?from=mail&n=1" in page.links
    assert "viewport" in mail.html


def test_an_urgent_mail_in_english_and_in_the_readers_zone() -> None:
    mail = render(locale="en-GB", title="Urgent question near you", timezone="Europe/London")
    assert mail.subject == "Urgent: 지금 문 연 약국 있나요?"
    assert "Asked 4 minutes ago." in mail.text
    assert "An answer by 9:05 AM, within 5 minutes, would help a lot." in mail.text
    assert Page(mail.html).language == "en"


@pytest.mark.parametrize(
    ("left", "ko", "en"),
    [(30, "30초 안에", "within 30 seconds"), (60, "1분 안에", "within 1 minute,"),
     (119, "1분 안에", "within 1 minute,"), (5399, "1시간 안에", "within 1 hour,"),
     (7200, "2시간 안에", "within 2 hours,"), (172_799, "1일 안에", "within 1 day,")],
)  # fmt: skip
def test_the_time_left_is_never_rounded_up(left: int, ko: str, en: str) -> None:
    deadline = NOW + timedelta(seconds=left)
    assert ko in render(deadline_at=deadline).text
    assert en in render(locale="en", deadline_at=deadline).text


@pytest.mark.parametrize("deadline", [None, NOW, NOW - timedelta(seconds=1)])
def test_nothing_is_said_of_a_deadline_that_is_none_or_past(deadline: datetime | None) -> None:
    mail = render(deadline_at=deadline)
    assert "안에 답해" not in mail.text
    assert "4분 전에" in mail.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [*KINDS, "shop_sale"])
def test_each_kind_in_each_language(kind: str, language: str) -> None:
    title, body = render_push(kind, language, {"title": "Is a pharmacy open?", "points": 10})
    mail = render(kind, language, title=title, body=body)
    words = WORDS[language].get(kind, WORDS[language]["notification"])
    assert mail.subject
    for shown in (mail.text, Page(mail.html).words):
        assert title in shown
        assert body in shown
        assert words.button in shown
        assert FRAMES[language].why in shown


def test_the_words_know_the_kinds_of_the_catalogue() -> None:
    """But for the test of one phone, which no mail is about."""
    assert {language: set(words) for language, words in WORDS.items()} == {
        language: set(KINDS) - {DEVICE_TEST} for language in LANGUAGES
    }


TAGS = Page(render().html).tags


@given(title=st.text(max_size=100), body=st.text(min_size=1, max_size=300))
def test_what_people_write_is_text_and_never_a_tag(title: str, body: str) -> None:
    mail = render(title=title, body=f"x{body}")
    assert Page(mail.html).tags == TAGS
    assert "\n" not in mail.subject
    assert mail.subject.strip()
    assert one_line(f"x{body}") in mail.text


@pytest.mark.parametrize(
    "url",
    ["", "javascript:alert(1)", "data:text/html,x", "https:///x", "//x", "https://a\nb",
     "http://[x", "https://x/ y"],
)  # fmt: skip
def test_a_link_nobody_should_follow_is_left_out(url: str) -> None:
    mail = render(url=url, unsubscribe_url=url)
    assert Page(mail.html).links == []
    assert "http" not in mail.text


def test_the_unsubscribe_link_stands_in_both_forms() -> None:
    link = "https://dongne.example/api/v1/unsubscribe/abc"
    mail = render(unsubscribe_url=link)
    assert link in mail.text
    assert link in Page(mail.html).links
    assert FRAMES["ko"].unsubscribe not in render().text


def test_a_quote_in_a_link_does_not_leave_its_attribute() -> None:
    url = 'https://dongne.example/"onmouseover="x'
    assert Page(render(url=url).html).links == [url, url]


def test_an_unknown_time_zone_is_that_of_jeju() -> None:
    assert render(timezone="Mars/Olympus").text == render(timezone=None).text
    assert render(timezone="../../etc/passwd").text == render(timezone=None).text


def test_nothing_is_loaded_from_anywhere() -> None:
    assert not {"img", "link", "script", "iframe", "style"} & set(TAGS)
    assert "url(" not in render().html
