"""Where a tap on a push or in a mail leads: to the question, whatever its service calls it."""

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pytest

from hub.domain.notifications import steps, suppressions
from hub.domain.notifications.steps import Look
from hub.domain.rules.kinds import Channel
from protocol.links import Unsubscription, read_unsubscription
from tests.fakes.smtp import FakeSmtp
from tests.workers.conftest import Shift, add_person, deliveries, notify
from workers.channels.message import Recipient
from workers.channels.smtp.message import mail_of
from workers.sending import message_of

Seen = Callable[[str, object], None]
BASE = "https://dongne.example"

IDS = ["2026/0042", "q 7", "q?x=1", "q#9", "약국", "100%", "a%2Fb", "q;v=1", "{}", "a&b=c", "+"]


@pytest.mark.fault(17)
@pytest.mark.parametrize("id", IDS)
async def test_an_id_is_one_segment_of_the_link(
    shift: Shift, id: str, record_property: Seen
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora", question_id=id)
    order = await steps.take_steps(d, Look(told.id, told.created_at, Channel.PUSH, 15))
    assert order is not None
    message = message_of(d, order, order.targets[0])
    url = message.url
    assert mail_of(Recipient("a@b.example"), message, d.now()).text.count(url) == 1
    parts = urlsplit(url)
    assert (parts.query, parts.fragment) == ("", "")
    assert url.isascii()
    assert [unquote(part) for part in parts.path.split("/")] == ["", "questions", id]
    record_property("seen", url.removeprefix(BASE))


@pytest.mark.parametrize(("kind", "scope"), [("digest", "digest"), ("answer_created", "all")])
async def test_every_mail_can_be_stopped_by_one_click(
    shift: Shift, smtp: FakeSmtp, kind: str, scope: str
) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0)
    await notify(d, "bora", kind=kind)
    await shift.advance(601)
    (mail,) = smtp.received
    headers = mail["headers"]
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = headers["List-Unsubscribe"].strip("<>")
    assert url.startswith(f"{BASE}/api/v1/unsubscribe/")
    assert url in mail["text"]
    wish = read_unsubscription(d.link_secret, url.rpartition("/")[2])
    assert wish == Unsubscription("bora", scope)  # type: ignore[arg-type]
    async with d.outbox.change() as change:
        await suppressions.unsubscribe(change, wish, d.now())
    await notify(d, "bora", kind=kind)
    await shift.advance(601)
    assert len(smtp.received) == 1
    reason = "topic_off" if kind == "digest" else "channel_off"
    assert ("email", "suppressed", reason) in await deliveries(d, "email")
