"""The console as somebody uses it: people, the question, what is read on their phones."""

from typing import Final

from playwright.async_api import Locator, Page, expect

TOO_SMALL: Final = """() => {
  const shown = (one) => one.checkVisibility({ visibilityProperty: true });
  const name = (one) => `${one.tagName} ${one.className} ${one.textContent.trim().slice(0, 20)}`;
  const pressed = [...document.querySelectorAll("button, select, input, summary, nav a")];
  const small = pressed.filter(shown).filter((one) => {
    const box = one.getBoundingClientRect();
    return box.height < 43.5 || box.width < 43.5;
  });
  const isWords = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim();
  const words = [...document.querySelectorAll("body *:not(svg *)")].filter(
    (one) => shown(one) && [...one.childNodes].some(isWords));
  const fine = words.filter((one) => parseFloat(getComputedStyle(one).fontSize) < 12);
  return [...small, ...fine].map(name);
}"""
"""What is pressed with a finger takes 44 px (WCAG 2.5.5), what is read 12."""


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
        await self.node.locator(".line .drop").click()

    async def answer(self, text: str) -> None:
        await self.question.locator("textarea").fill(text)
        await self.question.locator(".reply .main").click()

    async def accept(self) -> None:
        await self.question.locator(".answers button").click()

    async def claim(self) -> None:
        """Says that they are answering; once more: no longer."""
        await self.question.locator(".claim").click()

    async def read_alert(self) -> None:
        await self.question.locator(".read-it").click()

    async def is_taken_back(self, words: str) -> None:
        """The alert has left this screen, and a line says why."""
        await expect(self.question.locator("h4")).to_be_hidden()
        await expect(self.question.locator(".trace")).to_contain_text(words)

    async def explains(self, verdict: str, reason: str) -> Locator:
        """Asks why they were told, or were not; the decisions."""
        why = self.node.locator(".why")
        await why.locator("summary").click()
        answer = why.locator(".verdict")
        await expect(answer).to_have_attribute("data-verdict", verdict)
        await expect(answer).to_have_attribute("data-reason", reason)
        return why.locator(".decisions")

    async def open_inbox(self) -> Locator:
        await self.node.locator(".drawer:has(.inbox) summary").click()
        return self.node.locator(".inbox")


class Console:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.caught = page.locator("#caught")

    def phone(self, person: str) -> Phone:
        return Phone(self.page.locator(f".phone[data-person={person}]:not([data-screen])"))

    async def add_screen(self, person: str) -> Phone:
        """The same person's tablet, once it is connected."""
        await self.phone(person).node.locator(".line .more-screens").click()
        tablet = Phone(self.page.locator(f".phone[data-person={person}][data-screen]"))
        await tablet.is_("on")
        return tablet

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

    def ring(self, wave: int) -> Locator:
        """How far a wave went, on the map."""
        return self.page.locator(f"#map .wave[data-wave='{wave}']")

    async def assert_fits_a_phone(self) -> None:
        """Nothing reaches out at the side, is too small for a finger or too small to read."""
        assert not await self.scrolls_sideways()
        assert await self.page.evaluate(TOO_SMALL) == []

    async def scrolls_sideways(self) -> bool:
        wide: bool = await self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return wide
