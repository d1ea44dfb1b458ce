"""A real `dongne up` and a real Chromium; every page is watched for what must never happen."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.browser.console import Console
from tests.left_out import CHROMIUM
from tests.stories.processes import Door, doors

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HERE = ("localhost", "127.0.0.1", "[::1]")
PATIENCE_MS = 15_000
DESKTOP = {"width": 1440, "height": 900}

expect.set_options(timeout=PATIENCE_MS)

OpenConsole = Callable[..., Awaitable[Console]]


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def open_console(
    chromium: Browser, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[OpenConsole]:
    """`await open_console(UNSEEN_EMAIL="1")`: a hub of its own with these variables, and its page.

    When the test ends, nothing may have left this machine, and no error been written to the
    browser's console, but for answers with one of the statuses in `refused`.
    """
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "EMBEDDED_DIR": str(tmp_path)}
    ports = {"PORT": "0", "API_PORT": "0", "METRICS_PORT": "0", "APP_ENV": "development"}
    watched: list[Watch] = []
    async with AsyncExitStack() as stack:

        async def open_one(
            viewport: Mapping[str, int] = DESKTOP,
            scale: float = 1,
            script: str = "",
            refused: tuple[int, ...] = (),
            **env: str,
        ) -> Console:
            door = Door("up", {**stores, **ports, **env}, tmp_path / "up.log")
            await stack.enter_async_context(doors(door))
            context = await chromium.new_context(
                viewport={"width": viewport["width"], "height": viewport["height"]},
                device_scale_factor=scale,
                locale="ko-KR",
                timezone_id="Asia/Seoul",
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            page = await context.new_page()
            if script:
                await page.add_init_script(script)
            watched.append(Watch(page, refused))
            await page.goto(door.url)
            return Console(page, door.url)

        yield open_one
        for watch in watched:
            watch.assert_clean()


class Watch:
    """What a page asked for and complained of."""

    def __init__(self, page: Page, refused: tuple[int, ...]) -> None:
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self._expected = tuple(f"status of {status}" for status in refused)
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(one in message.text for one in self._expected):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "about") and parts.hostname not in HERE:
            self.foreign.append(url)

    def assert_clean(self) -> None:
        assert not self.foreign, f"left this machine: {self.foreign}"
        assert not self.errors, f"in the browser's console: {self.errors}"
