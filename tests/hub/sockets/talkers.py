"""People in /chat alone, on stock clients."""

from typing import Any

from tests.hub.sockets.conftest import Client, Running

CHAT = "/chat"
LOBBY = {"roomId": "lobby"}


class Talker(Client):
    def __init__(self) -> None:
        super().__init__()
        self.user_id = ""
        self.sio.on("*", self._hear, namespace=CHAT)
        self.sio.on("disconnect", self._gone, namespace=CHAT)

    async def come(self, hub: Running, user_id: str, role: str = "user", **auth: Any) -> "Talker":
        self.user_id = user_id
        auth = {"token": hub.token(user_id, role=role), "recovery": False, **auth}
        await self.sio.connect(hub.url, auth=auth, namespaces=[CHAT], transports=["websocket"])
        return self

    async def ask(self, event: str, **data: Any) -> Any:
        """In the lobby, unless another room is named."""
        return await self.sio.call(event, {**LOBBY, **data}, namespace=CHAT, timeout=10)

    async def enter_room(self, **data: Any) -> Any:
        return await self.ask("chat:join-room", **data)

    async def say(self, text: str, id: str | None = None, **data: Any) -> Any:
        sent = {"content": text, "clientMessageId": id or f"{self.user_id} {text}", **data}
        return await self.ask("chat:send-message", **sent)

    def told(self, event: str, field: str) -> list[Any]:
        return [args[0][field] for name, args in self.heard if name == event]
