"""A local Kakao Talk Message API ("send to friends") over real HTTP.

In a test: `async with FakeKakao() as fake`, then `fake.message_url` and `fake.token`. Step for a
Fault's `at`: `send`.
"""

import json
from typing import Any

from aiohttp import web

from tests.fakes.http import HttpFake

PATH = "/v1/api/talk/friends/message/default/send"


def error(code: int, text: str = "") -> dict[str, Any]:
    return {"msg": text or "text of theirs", "code": code}


class FakeKakao(HttpFake):
    """A received message: `{n, receiver, template}`. `refusing`: receivers who are not reached, and
    the code that is told for each."""

    def __init__(self, token: str = "kakao-access-token") -> None:
        super().__init__()
        self.token = token
        self.refusing: dict[str, int] = {}

    @property
    def message_url(self) -> str:
        return self.url + PATH

    def steps(self) -> list[web.RouteDef]:
        return [web.post(PATH, self._send)]

    async def _send(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response(error(-401, "this access token does not exist"), status=401)
        form = await request.post()
        try:
            receivers = json.loads(str(form["receiver_uuids"]))
            template = json.loads(str(form["template_object"]))
            text, link = template["text"], template["link"]
        except (KeyError, ValueError):
            return web.json_response(error(-2), status=400)
        right = 1 <= len(receivers) <= 5 and template["object_type"] == "text"
        if not right or not isinstance(link, dict) or not 1 <= len(text) <= 200:
            return web.json_response(error(-2), status=400)
        (receiver,) = receivers
        message = {"receiver": receiver, "template": template}
        self.note(message)
        if receiver in self.refusing:
            failed = {**error(self.refusing[receiver]), "receiver_uuids": [receiver]}
            return web.json_response({"failure_info": [failed]})
        answer = await self.misbehaves(request, "send", message)
        return answer or web.json_response({"successful_receiver_uuids": [receiver]})
