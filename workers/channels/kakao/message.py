"""A message as Kakao wants it ("Kakao Talk Message, REST API": receiver_uuids, and the default
template of type text)."""

from typing import Any, Final

import orjson

from workers.channels.message import Message
from workers.channels.push import link_fits

TEXT_CHARACTERS: Final = 200


def kakao_form(user_key: str, message: Message) -> dict[str, str]:
    """The fields of one POST, for one receiver."""
    link: dict[str, Any] = {}
    if message.url.startswith(("https://", "http://")) and link_fits(message):
        link = {"web_url": message.url, "mobile_web_url": message.url}
    template = {"object_type": "text", "text": _text(message), "link": link}
    return {
        "receiver_uuids": orjson.dumps([user_key]).decode(),
        "template_object": orjson.dumps(template).decode(),
    }


def _text(message: Message) -> str:
    """Title and body in the 200 characters there are."""
    whole = f"{message.title}\n{message.body}".encode("utf-8", "replace").decode()
    return whole if len(whole) <= TEXT_CHARACTERS else whole[: TEXT_CHARACTERS - 1].rstrip() + "…"
