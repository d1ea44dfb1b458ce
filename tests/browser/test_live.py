"""A live-commerce page on the stock client: who watches, what is sold, who may not speak."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenConsole
from tests.browser.live import Live

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
HELLO, BAD, AGAIN = "배송은 언제 <b>오나요</b>?", "다른 데가 더 싸요", "죄송합니다"


async def test_two_viewers_a_shop_and_an_operator(open_console: OpenConsole) -> None:
    live = Live(await open_console())
    one, two = await live.open()
    for viewer in (one, two):
        await viewer.counts(2)

    await live.publish("hallabong", "added")
    for viewer in (one, two):
        await viewer.sees_product("한라봉 3 kg29,900원")
        await viewer.sees_sold_out("")
    await live.publish("hallabong", "soldout")
    for viewer in (one, two):
        await viewer.sees_sold_out("한라봉 3 kg")
        await viewer.sees_product("한라봉 3 kg품절")
    await live.publish("hallabong", "updated")
    await two.sees_sold_out("")

    await one.say(HELLO)
    await two.hears(HELLO)
    await two.say(BAD)
    await one.hears(BAD)
    await live.message(BAD).locator(".erase").click()
    for viewer in (one, two):
        await viewer.hears("운영자가 지운 메시지예요.")
        await expect(viewer.log).not_to_contain_text(BAD)
        await viewer.hears(HELLO)

    await live.keeper.locator("li").first.locator(".ban").click()
    await expect(live.banned).to_contain_text("시청자 2")
    await two.say(BAD)
    await expect(two.barred).to_be_visible()
    await expect(two.node.locator(".say")).to_be_hidden()
    await one.say("다음 상품은요?")
    await expect(live.message("다음 상품은요?")).to_be_visible()
    await expect(one.log).not_to_contain_text(BAD)
    await live.publish("gamgyul", "added")
    await two.sees_product("감귤")  # out of the chat is not out of the stream
    await expect(two.log).not_to_contain_text("다음 상품은요?")
    await two.barred.get_by_role("button").click()
    await expect(two.barred).to_be_visible()

    await live.banned.get_by_role("button").click()
    await expect(live.banned.locator("li")).to_have_count(0)
    await two.barred.get_by_role("button").click()
    await two.say(AGAIN)
    await one.hears(AGAIN)
    await two.toggle()
    await one.counts(1)


async def test_on_a_phone_after_a_reload(open_console: OpenConsole) -> None:
    console = await open_console(viewport=PHONE)
    live = Live(console)
    one, _ = await live.open()
    await live.publish("hallabong", "added")
    await live.publish("hallabong", "soldout")
    await one.sees_sold_out("한라봉 3 kg")
    await one.say("가" * 1000)
    await expect(live.message("가" * 50)).to_be_visible()
    await console.assert_fits_a_phone()
    await console.page.reload()  # the address names the tab, the hub keeps the chat
    await one.is_on()
    await one.counts(2)
    await one.hears("가" * 50)
    tab = console.page.get_by_role("tab", selected=True)
    await tab.press("ArrowLeft")
    await expect(tab).to_be_focused()
    await expect(console.page.get_by_role("tabpanel")).to_have_id("urgent")
    await console.assert_fits_a_phone()
