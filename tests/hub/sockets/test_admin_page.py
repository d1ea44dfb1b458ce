"""The official admin page's protocol, as a stock client of it hears it."""

from dataclasses import replace

import pytest

from hub.domain.people import revocation
from hub.plumbing.settings.settings import Settings
from hub.sockets import admin_page
from protocol.rest.sessions import RevokeRequest
from tests.client import Ears
from tests.hub.sockets.conftest import Connect, Running, running
from tests.hub.sockets.test_javascript import Open, open_page

__all__ = ["open_page"]


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(admin_page, "EVERY_S", 0.1)
    part = settings.sockets.model_copy(update={"admin_page": True})
    return replace(settings, sockets=part)


class Page(Ears):
    """@socket.io/admin-ui as it connects: a user name and a password in namespace /admin."""

    def __init__(self) -> None:
        super().__init__()
        self.sio.on("*", self._hear, namespace="/admin")
        self.sio.on("disconnect", self._gone, namespace="/admin")
        self.sio.on("connect_error", self._refused, namespace="/admin")

    async def open(self, hub: Running, password: str) -> None:
        auth = {"username": "anybody", "password": password}
        await self.sio.connect(
            hub.url, auth=auth, namespaces=["/admin"], transports=["websocket"], wait_timeout=5
        )


async def test_it_shows_what_is_on_this_node(hub: Running, connect: Connect) -> None:
    await connect(hub, "minji")
    page = Page()
    await page.open(hub, hub.token("root", role="admin"))
    assert await page.next("config") == {"supportedFeatures": ["AGGREGATED_EVENTS"]}
    stats = await page.next("server_stats")
    assert stats["serverId"] == hub.door.node.id
    assert (stats["clientsCount"], stats["pollingClientsCount"]) == (2, 0)
    assert {"name": "/", "socketsCount": 1} in stats["namespaces"]
    assert {"name": "/admin", "socketsCount": 1} in stats["namespaces"]
    drawn = {
        one["type"]
        for told in await page.some("server_stats", 3)
        for one in told["aggregatedEvents"]
    }
    assert {"packetsOut", "bytesOut"} <= drawn
    await page.close()


async def test_it_takes_no_orders(hub: Running, connect: Connect) -> None:
    person = await connect(hub, "minji")
    page = Page()
    await page.open(hub, hub.token("root", role="admin"))
    for order in (("emit", "/", None, "hello"), ("_disconnect", "/", True), ("join", "/", "r")):
        await page.sio.emit(order[0], order[1:], namespace="/admin")
    await page.some("server_stats", 2)
    assert (await person.call("inbox:sync", {}))["ok"]
    assert "hello" not in person.names()
    await page.close()


@pytest.mark.parametrize("role", ["user", None])
@pytest.mark.refused
async def test_only_an_administrator_gets_in(hub: Running, role: str | None) -> None:
    page = Page()
    with pytest.raises(Exception, match=r"refused|namespaces"):
        await page.open(hub, hub.token("minji", role=role) if role else "admin")
    assert page.refusal["data"]["code"] == ("FORBIDDEN" if role else "UNAUTHENTICATED")
    await page.close()


async def test_it_ends_with_its_token(hub: Running) -> None:
    revoked, spent = Page(), Page()
    await revoked.open(hub, hub.token("root", role="admin"))
    await spent.open(hub, hub.token("chief", role="admin", ttl_s=0.5))
    await spent.next("(disconnect)")
    await revocation.revoke(hub.domain, RevokeRequest(user_id="root"))
    await revoked.next("(disconnect)")
    for page in (revoked, spent):
        await page.close()


async def test_unless_it_is_wanted_nobody_connects(settings: Settings) -> None:
    off = settings.sockets.model_copy(update={"admin_page": False})
    async with running(replace(settings, sockets=off)) as hub:
        page = Page()
        with pytest.raises(Exception, match=r"refused|namespaces"):
            await page.open(hub, hub.token("root", role="admin"))
        await page.close()


async def test_the_javascript_client_hears_it(hub: Running, open_page: Open) -> None:
    page = await open_page(hub, hub.token("root", role="admin"), namespace="/admin")
    heard = dict(await page.until("server_stats"))
    assert heard["config"] == {"supportedFeatures": ["AGGREGATED_EVENTS"]}
    assert heard["server_stats"]["namespaces"] == [{"name": "/admin", "socketsCount": 1}]
