"""The picture of the README: `make screenshot`."""

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenConsole

PICTURE = Path(__file__).parents[2] / "deploy/docs/console.png"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("SCREENSHOT" not in os.environ, reason="only make screenshot draws it"),
]


async def test_the_picture(open_console: OpenConsole) -> None:
    console = await open_console(viewport={"width": 1360, "height": 900}, scale=2, UNSEEN_EMAIL="1")
    traveller, near, _, away, _ = await console.switch_on(
        "traveller", "local-yeon", "local-nohyeong", "local-ora", "local-seongsan"
    )
    await away.toggle()
    await away.is_("off")
    await console.ask("지금 문 연 약국 있나요?", "일행이 열이 나요. 걸어갈 수 있는 곳을 찾아요.")
    await away.sees(".pushed", "약국")
    await traveller.toggle()
    await near.answer("연동 사거리 약국이 밤 10시까지 열어요. 길 건너편이에요.")
    await expect(console.caught.locator("[data-channel=mail]")).to_be_visible()
    await traveller.toggle()
    await traveller.accept()
    await near.sees(".note", "+10")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    await console.page.mouse.move(0, 0)
    await console.page.screenshot(path=PICTURE, full_page=True)
