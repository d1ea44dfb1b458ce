"""Where a tap on a push or in a mail leads: to the question, whatever its service calls it."""

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pytest

from hub.domain.notifications import delivery
from hub.domain.rules.kinds import Channel
from tests.workers.conftest import Shift, add_person, notify
from workers.sending import mail_message, push_message

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
    order = await delivery.take_steps(d, told.id, told.created_at, Channel.PUSH, 15)
    assert order is not None
    url = push_message(order, order.targets[0], BASE).url
    assert mail_message(d, order, order.targets[0]).text.count(url) == 1
    parts = urlsplit(url)
    assert (parts.query, parts.fragment) == ("", "")
    assert url.isascii()
    assert [unquote(part) for part in parts.path.split("/")] == ["", "questions", id]
    record_property("seen", url.removeprefix(BASE))
