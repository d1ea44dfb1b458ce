"""What many say at once is one change, and each of them is answered by itself."""

from collections.abc import Sequence
from uuid import uuid4

from hub.domain import chat
from hub.domain.chat import Said
from hub.domain.context import Domain
from hub.domain.people import blocks, members
from protocol.errors import Code, HubError
from protocol.events import Emit
from protocol.events.chat import ChatBan, ChatSend, ChatSent


def said(user_id: str, content: str, key: str, room_id: str = "lobby") -> Said:
    return Said(user_id, ChatSend(room_id=room_id, content=content, client_message_id=key))


async def say(d: Domain, *all: Said) -> tuple[list[ChatSent | HubError], Sequence[Emit]]:
    """The answers, and what was told."""
    async with d.outbox.change() as change:
        answers = await chat.say_all(d, change, all)
        told = [one for _, one in change.told if isinstance(one, Emit)]
    return answers, told


async def known(d: Domain, *user_ids: str) -> None:
    async with d.outbox.change() as change:
        for user_id in user_ids:
            await members.ensure(d, change.conn, user_id)


async def test_who_may_not_speak_hinders_nobody_else(domain: Domain) -> None:
    await known(domain, "minji", "jiho", "haru")
    async with domain.outbox.change() as change:
        await chat.ban(domain, change, ChatBan(room_id="lobby", user_id="haru", minutes=5))
    (first, banned, gone, twice, other, elsewhere), told = await say(
        domain,
        said("minji", "하나", "a"),
        said("haru", "둘", "a"),
        said("nobody", "셋", "a"),
        said("minji", "넷", "a"),
        said("jiho", "다섯", "a"),
        said("haru", "여섯", "a", "other"),
    )
    assert isinstance(first, ChatSent)
    assert isinstance(other, ChatSent)
    assert isinstance(elsewhere, ChatSent)
    assert twice == first
    assert isinstance(banned, HubError)
    assert isinstance(gone, HubError)
    assert (banned.code, gone.code) == (Code.FORBIDDEN, Code.NOT_FOUND)
    assert [one.data["content"] for one in told] == ["하나", "다섯", "여섯"]
    assert first.created_at < other.created_at < elsewhere.created_at, "history has their order"
    assert await domain.pool.fetchval("SELECT count(*) FROM room_messages") == 3
    assert await domain.pool.fetchval("SELECT count(*) FROM room_message_keys") == 3


async def test_what_was_said_before_is_answered_among_what_is_new(domain: Domain) -> None:
    await known(domain, "minji", "jiho")
    (first,), _ = await say(domain, said("minji", "하나", "a"))
    answers, told = await say(domain, said("minji", "하나", "a"), said("jiho", "둘", "b"))
    assert answers[0] == first
    assert [one.data["content"] for one in told] == ["둘"]


async def test_each_message_passes_by_those_apart_from_its_own_sender(domain: Domain) -> None:
    await known(domain, "minji", "jiho", "haru")
    async with domain.outbox.change() as change:
        await blocks.block(domain, change, "minji", "jiho")
        await blocks.block(domain, change, "haru", "minji")
    _, told = await say(
        domain, *(said(who, "x", str(uuid4())) for who in ("minji", "jiho", "haru"))
    )
    assert [set(one.except_rooms) for one in told] == [
        {"user:jiho", "user:haru"},
        {"user:minji"},
        {"user:minji"},
    ]
