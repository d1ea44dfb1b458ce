"""The way of one urgent question, as somebody plays it on the console."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenConsole

pytestmark = pytest.mark.browser

TITLE, CONTENT = "문 연 약국 있나요?", "아이가 열이 나요. <b>가까운</b> 곳이면 좋겠어요."
ANSWER = "사거리 약국이 10시까지 열어요."
PHONE = {"width": 360, "height": 740}
HIDDEN = (
    "Object.defineProperty(document, 'visibilityState',"
    " {get: () => window.inFront ? 'visible' : 'hidden'})"
)


async def test_asked_answered_accepted_on_one_page(open_console: OpenConsole) -> None:
    console = await open_console()
    traveller, near, nearby, far = await console.switch_on(
        "traveller", "local-yeon", "local-nohyeong", "local-jungmun"
    )
    await console.ask(TITLE, CONTENT)
    for phone in (near, nearby):
        await phone.sees("h4", TITLE)
        await phone.sees(".content", CONTENT)
        await expect(phone.node.locator(".latency")).to_have_text(re.compile(r"^\d+ ms"))
        await phone.unread_is(1)
    await expect(console.page.locator("#map .wave.open")).to_have_count(1)

    await near.answer(ANSWER)
    await traveller.sees(".answers", ANSWER)
    await traveller.unread_is(1)
    await nearby.question_is("answered")
    await expect(nearby.node.locator(".reply")).to_be_hidden()
    for phone in (near, nearby):  # what was answered is retracted, and nothing to read any more
        await phone.unread_is(0)

    await traveller.accept()
    await near.sees(".answers .chip", "채택됨")
    await near.sees(".note", "+10")
    await expect(near.node.locator(".points")).to_have_text("10")
    await near.unread_is(1)
    await expect(far.node.locator(".question")).to_have_count(0)


async def test_the_inbox_is_read_and_survives_a_reload(open_console: OpenConsole) -> None:
    console = await open_console()
    _, near = await console.switch_on("traveller", "local-yeon")
    await console.ask(TITLE, CONTENT)
    await near.unread_is(1)
    inbox = await near.open_inbox()
    await expect(inbox).to_contain_text(TITLE)
    await inbox.get_by_role("button").click()
    await near.unread_is(0)
    await expect(inbox.locator("li")).to_have_class("read")

    await console.page.reload()
    traveller, near = await console.switch_on("traveller", "local-yeon")
    await near.unread_is(0)
    await near.sees("h4", TITLE)
    await traveller.sees(".mine h4", TITLE)


async def test_whoever_is_off_gets_a_push_then_a_mail_and_catches_up(
    open_console: OpenConsole,
) -> None:
    console = await open_console(UNSEEN_EMAIL="1")
    traveller, near, away = await console.switch_on("traveller", "local-yeon", "local-ora")
    await away.toggle()
    await away.is_("off")
    await console.ask(TITLE, CONTENT)
    await away.sees(".pushed", TITLE)
    await expect(console.caught).to_contain_text("오라동 주민")

    await traveller.toggle()
    await traveller.is_("off")
    await near.answer(ANSWER)
    mail = console.caught.locator("[data-channel=mail]")
    await expect(mail).to_contain_text("여행자")
    await mail.locator("summary").click()
    await expect(mail.frame_locator("iframe").locator("body")).to_contain_text(ANSWER)
    assert await mail.locator("iframe").get_attribute("sandbox") == ""

    await traveller.toggle()
    await traveller.sees(".answers", ANSWER)
    await traveller.unread_is(1)


async def test_a_dropped_connection_recovers_what_was_missed(open_console: OpenConsole) -> None:
    console = await open_console()
    _, near, nearby = await console.switch_on("traveller", "local-yeon", "local-nohyeong")
    await console.ask(TITLE, CONTENT)
    await near.sees("h4", TITLE)
    await near.drop()
    await near.is_("connecting")
    await nearby.answer(ANSWER)
    await near.question_is("answered")
    await near.sees(".chip.good", "복구됨")


async def test_an_expired_token_is_renewed(open_console: OpenConsole) -> None:
    console = await open_console(refused=(401,), JWT_EXPIRATION="2s")
    traveller, near = await console.switch_on("traveller", "local-yeon")
    await asyncio.sleep(2.1)  # the life of a token
    await console.ask(TITLE, CONTENT)
    await near.sees("h4", TITLE)
    await near.drop()
    await near.is_("connecting")
    await near.is_("on")
    await traveller.is_("on")


async def test_a_hidden_page_acknowledges_nothing(open_console: OpenConsole) -> None:
    console = await open_console(script=HIDDEN, UNSEEN_PUSH_URGENT="1")
    _, near = await console.switch_on("traveller", "local-yeon")
    await console.ask(TITLE, CONTENT)
    await near.sees("h4", TITLE)
    await near.sees(".pushed", TITLE)


async def test_a_page_in_front_again_acknowledges_what_it_shows(
    open_console: OpenConsole,
) -> None:
    console = await open_console(script=HIDDEN)
    _, near = await console.switch_on("traveller", "local-yeon")
    await console.ask(TITLE, CONTENT)
    await near.sees("h4", TITLE)
    sent: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await near.drop()  # the frames of the next socket are watched
    console.page.on(
        "websocket",
        lambda socket: socket.on(
            "framesent",
            lambda frame: (
                sent.set_result(str(frame))
                if "notification:ack" in str(frame) and not sent.done()
                else None
            ),
        ),
    )
    await near.sees(".chip.good", "복구됨")
    await console.page.evaluate(
        "inFront = true; document.dispatchEvent(new Event('visibilitychange'))"
    )
    async with asyncio.timeout(10):
        assert "questionIds" in await sent


async def test_the_width_of_a_phone(open_console: OpenConsole) -> None:
    console = await open_console(viewport=PHONE)
    assert not await console.scrolls_sideways()
    await console.page.get_by_role("button", name="English").click()
    await expect(console.page.locator("#ask-title")).to_have_text("Ask urgently")
    traveller, near = await console.switch_on("traveller", "local-yeon")
    await console.page.locator("#map [data-code=seongsan]").click()
    place = console.page.locator("#ask [name=place] option:checked")
    await expect(place).to_have_text("chosen on the map (Seongsan-eup)")
    await console.ask("x" * 200, "가" * 1000)
    await near.sees("h4", "x" * 200)
    await near.answer(ANSWER)
    await traveller.sees(".answers", ANSWER)
    for drawer in await console.page.locator(".drawer > summary").all():
        await drawer.click()
    assert not await console.scrolls_sideways()


async def test_what_is_being_typed_is_not_lost(open_console: OpenConsole) -> None:
    console = await open_console()
    _, near = await console.switch_on("traveller", "local-yeon")
    await console.ask(TITLE, CONTENT)
    field = near.question.locator("textarea")
    await near.drop()
    await near.is_("connecting")
    await field.fill("잠깐만")
    await near.sees(".chip.good", "복구됨")
    await expect(field).to_have_value("잠깐만")
    await expect(field).to_be_focused()


async def test_a_refusal_is_told_in_words(open_console: OpenConsole) -> None:
    console = await open_console(refused=(409,))
    await console.switch_on("traveller")
    await console.ask(TITLE, CONTENT)
    await console.phone("traveller").sees("h4", TITLE)
    await console.ask("또 하나", CONTENT)
    await expect(console.page.get_by_role("alert")).to_contain_text("CONFLICT")
