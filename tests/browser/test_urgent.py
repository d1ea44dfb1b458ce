"""The urgent question as a protocol on the console: waves, claims, what is taken back, and why."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenConsole
from tests.browser.console import Console

pytestmark = pytest.mark.browser

TITLE, CONTENT = "문 연 약국 있나요?", "아이가 열이 나요."
ANSWER = "사거리 약국이 10시까지 열어요."
PHONE = {"width": 390, "height": 844}
WAVES = "0:2000,3:5000,590:region"
OPENED = "for (const one of document.querySelectorAll('.drawer')) one.open = true"
DRAWN = """(rings) => {
  const [inner, outer] = rings.map((ring) => document.querySelector(ring));
  const radius = (ring) => parseFloat(getComputedStyle(ring).r);
  return outer && Math.abs(radius(outer) / radius(inner) - 2.5) < 0.01;
}"""


async def widened(console: Console) -> None:
    """The second ring has grown from the first one's 2 km to 5 km."""
    rings = [f"#map .wave[data-wave='{n}']" for n in (1, 2)]
    await console.page.wait_for_function(DRAWN, arg=rings)


async def test_waves_claims_and_what_is_taken_back(open_console: OpenConsole) -> None:
    console = await open_console(URGENT_WAVES=WAVES)
    traveller, near, nearby, away, ring, far = await console.switch_on(
        "traveller", "local-yeon", "local-nohyeong", "local-ora", "local-ido2", "local-pyoseon"
    )
    tablet = await console.add_screen("local-nohyeong")
    await away.toggle()
    await away.is_("off")
    await console.ask(TITLE, CONTENT)
    for phone in (near, nearby, tablet):
        await phone.sees("h4", TITLE)
    await expect(console.ring(1)).to_have_class("wave open widest")
    await expect(console.ring(2)).to_have_count(0)
    await expect(ring.question).to_have_count(0)
    await away.sees(".pushed", TITLE)

    await ring.sees("h4", TITLE)  # the second wave
    await expect(console.ring(1)).to_have_class("wave open")
    await expect(console.ring(2)).to_have_class("wave open widest")
    await widened(console)
    await expect(console.page.locator("#spread")).to_contain_text("2차 알림 · 5 km")
    await expect(traveller.question.locator(".steps .now")).to_have_text("5 km")
    await expect(far.question).to_have_count(0)

    line = console.page.locator("#map [data-claimer=local-yeon]")
    await near.claim()
    await expect(line).to_have_count(1)
    await near.sees(".claim", "답하는 중")
    for phone in (traveller, nearby):
        await phone.sees(".note", "1명이 답하는 중")
    await near.claim()
    await expect(line).to_have_count(0)
    await expect(nearby.question.locator(".note")).to_have_text("")

    await nearby.unread_is(1)
    await tablet.read_alert()
    await nearby.is_taken_back("다른 화면에서 읽었어요")
    await nearby.unread_is(0)

    await near.answer(ANSWER)
    await traveller.sees(".answers", ANSWER)
    for phone in (nearby, tablet, ring):
        await phone.is_taken_back("답변이 달려 거뒀어요")
    await expect(away.node.locator(".pushed")).to_have_count(0)
    await away.sees(".trace", "무음 푸시")
    await expect(console.page.locator("#map .wave.open")).to_have_count(0)

    decisions = await away.explains("told", "no_live_socket")
    await expect(decisions).to_contain_text("휴대폰에서 거뒀어요")
    await far.explains("suppressed", "outside_radius")
    await traveller.explains("suppressed", "asker")
    await ring.explains("suppressed", "outside_radius")  # of their own: a screen, but no push
    await expect(ring.node.locator(".verdict")).to_contain_text("켜진 화면에만 알렸어요")


async def test_all_of_it_fits_a_phone(open_console: OpenConsole) -> None:
    console = await open_console(viewport=PHONE, URGENT_WAVES=WAVES)
    traveller, near, away = await console.switch_on("traveller", "local-yeon", "local-ora")
    await away.toggle()
    await away.is_("off")
    await console.ask(TITLE, CONTENT)
    await away.sees(".pushed", TITLE)
    await near.claim()
    await traveller.sees(".note", "1명이 답하는 중")
    await widened(console)
    await console.assert_fits_a_phone()
    await near.answer(ANSWER)
    await away.sees(".trace", "무음 푸시")
    await away.explains("told", "no_live_socket")
    await traveller.accept()
    await console.page.evaluate(OPENED)
    await console.assert_fits_a_phone()


async def test_a_tap_on_a_push_opens_the_app_and_clears_the_other_device(
    open_console: OpenConsole,
) -> None:
    console = await open_console()
    await console.page.locator("#start").click()
    phone = console.phone("local-yeon")
    for person in ("traveller", "local-yeon"):
        await console.phone(person).is_("on")
    tablet = await console.add_screen("local-yeon")
    for screen in (phone, tablet):
        await screen.toggle()
        await screen.is_("off")
    await console.ask(TITLE, CONTENT)
    for screen in (phone, tablet):
        await screen.sees(".pushed", TITLE)
    await phone.node.locator(".pushed").click()
    await phone.is_("on")
    await phone.unread_is(0)
    await expect(tablet.node.locator(".pushed")).to_have_count(0)
    await tablet.sees(".trace", "무음 푸시")
