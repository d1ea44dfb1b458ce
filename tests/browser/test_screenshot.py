"""The picture of the README: `make screenshot`."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.browser.conftest import OpenConsole

PICTURE = Path(__file__).parents[2] / "deploy/docs/console.png"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("SCREENSHOT" not in os.environ, reason="only make screenshot draws it"),
]


async def test_the_picture(open_console: OpenConsole) -> None:
    """An urgent question in its second wave: told, claimed, pushed, and explained."""
    console = await open_console(
        viewport={"width": 1600, "height": 1000}, scale=1.5, URGENT_WAVES="0:2000,4:5000,590:region"
    )
    traveller, near, nearby, away, ring, far = await console.switch_on(
        "traveller", "local-yeon", "local-nohyeong", "local-ora", "local-ido2", "local-pyoseon"
    )
    await away.toggle()
    await away.is_("off")
    await console.ask("지금 문 연 약국 있나요?", "일행이 열이 나요. 걸어갈 수 있는 곳을 찾아요.")
    await away.sees(".pushed", "약국")
    await near.claim()
    await nearby.sees(".note", "1명이 답하는 중")
    await ring.sees("h4", "약국")
    await traveller.sees(".steps .now", "5 km")
    await nearby.read_alert()
    await away.explains("told", "no_live_socket")
    await far.explains("suppressed", "outside_radius")
    await console.page.mouse.move(0, 0)
    await asyncio.sleep(2)  # the ring has widened
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    await console.page.screenshot(path=PICTURE, full_page=True)
