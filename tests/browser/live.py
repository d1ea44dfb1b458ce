"""The console's second tab as its people use it: viewers, the shop, the operator."""

from playwright.async_api import Locator, expect

from tests.browser.console import Console


class Viewer:
    """One viewer's phone. Every `sees` waits until it is so."""

    def __init__(self, node: Locator) -> None:
        self.node = node
        self.log = node.get_by_role("log")
        self.barred = node.locator(".barred")

    async def is_on(self) -> None:
        await expect(self.node).to_have_attribute("data-state", "on")

    async def toggle(self) -> None:
        await self.node.get_by_role("switch").click()

    async def say(self, words: str) -> None:
        await self.node.locator("[name=words]").fill(words)
        await self.node.locator(".say button").click()

    async def hears(self, words: str) -> None:
        await expect(self.log).to_contain_text(words)

    async def counts(self, viewers: int) -> None:
        await expect(self.node.locator(".count")).to_have_text(f"{viewers}명 보는 중")

    async def sees_product(self, words: str) -> None:
        await expect(self.node.locator(".strip")).to_contain_text(words)

    async def sees_sold_out(self, name: str) -> None:
        """The banner over the picture; an empty name: there is none."""
        text = f"품절됐어요 · {name}" if name else ""
        await expect(self.node.locator(".soldout")).to_have_text(text)


class Live:
    def __init__(self, console: Console) -> None:
        self.page = console.page
        self.keeper = console.page.locator("#keeper")
        self.banned = console.page.locator("#banned")

    async def open(self) -> list[Viewer]:
        """The tab, and its two viewers once they are there."""
        await self.page.locator("#tab-live").click()
        viewers = [Viewer(self.page.locator(f"[data-viewer=viewer-{n}]")) for n in (1, 2)]
        for viewer in viewers:
            await viewer.is_on()
        return viewers

    async def publish(self, product: str, word: str) -> None:
        row = self.page.locator(f"[data-product={product}]")
        await row.locator(f"[data-word={word}]").click()

    def message(self, words: str) -> Locator:
        """As the operator sees it."""
        return self.keeper.locator("li").filter(has_text=words)
