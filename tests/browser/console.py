"""The console as somebody uses it: people, the question, what is read on their phones."""

from playwright.async_api import Locator, Page, expect


class Phone:
    """One person's card. Every `sees` waits until it is so."""

    def __init__(self, node: Locator) -> None:
        self.node = node
        self.question = node.locator(".question").first

    async def sees(self, selector: str, text: str) -> None:
        await expect(self.node.locator(selector).first).to_contain_text(text)

    async def is_(self, state: str) -> None:
        """`on`, `off` or `connecting`."""
        await expect(self.node).to_have_attribute("data-state", state)

    async def unread_is(self, count: int) -> None:
        await expect(self.node.locator(".unread")).to_have_text(str(count))

    async def question_is(self, state: str) -> None:
        await expect(self.question).to_have_attribute("data-state", state)

    async def toggle(self) -> None:
        await self.node.get_by_role("switch").click()

    async def drop(self) -> None:
        await self.node.locator(".line button").click()

    async def answer(self, text: str) -> None:
        await self.question.locator("textarea").fill(text)
        await self.question.locator(".reply button").click()

    async def accept(self) -> None:
        await self.question.locator(".answers button").click()

    async def open_inbox(self) -> Locator:
        await self.node.locator(".drawer summary").first.click()
        return self.node.locator(".inbox")


class Console:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.caught = page.locator("#caught")

    def phone(self, person: str) -> Phone:
        return Phone(self.page.locator(f".phone[data-person={person}]"))

    async def switch_on(self, *people: str) -> list[Phone]:
        """Pick these people and wait until their sockets are connected."""
        phones = []
        for person in people:
            await self.page.locator(f"#people [data-person={person}]").click()
            phones.append(self.phone(person))
            await phones[-1].is_("on")
            await expect(self.mark(person)).to_have_attribute("data-state", "on")
        return phones

    def mark(self, person: str) -> Locator:
        """Of a person on the map."""
        return self.page.locator(f"#map [data-person={person}]")

    async def ask(self, title: str, content: str, place: str = "yeon") -> None:
        form = self.page.locator("#ask")
        await form.locator("[name=place]").select_option(place)
        await form.locator("[name=title]").fill(title)
        await form.locator("[name=content]").fill(content)
        await form.locator("button.main").click()

    async def scrolls_sideways(self) -> bool:
        wide: bool = await self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return wide
