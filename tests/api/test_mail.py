"""Stopping mails by their link (RFC 8058), and what providers say of addresses."""

from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest

from hub.domain.people import sessions
from protocol.links import Scope, Unsubscription, sign_unsubscription
from tests.api.conftest import PREFIX, Door, Reply
from tests.workers.conftest import add_person

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x1"
HEAD = 'Content-Disposition: form-data; name="List-Unsubscribe"'
PARTS = f"--x1\r\n{HEAD}\r\n\r\nOne-Click\r\n--x1--\r\n".encode()


def link(door: Door, scope: Scope = "all", user_id: str = "bora") -> str:
    token = sign_unsubscription(door.domain.link_secret, Unsubscription(user_id, scope))
    return f"{PREFIX}/unsubscribe/{token}"


async def click(
    door: Door, path: str, raw: bytes = b"List-Unsubscribe=One-Click", kind: str = FORM
) -> Reply:
    headers = {"Content-Type": kind}
    return await door.call("POST", path, data=raw, headers=headers, allow_redirects=False)


async def wanted(door: Door) -> tuple[bool, bool]:
    row = await door.domain.pool.fetchrow(
        "SELECT email_enabled, digest_enabled FROM notification_preferences"
    )
    assert row is not None
    return row["email_enabled"], row["digest_enabled"]


@pytest.mark.parametrize(("scope", "left"), [("digest", (True, False)), ("all", (False, False))])
@pytest.mark.parametrize(
    ("raw", "kind"), [(b"List-Unsubscribe=One-Click", FORM), (PARTS, MULTIPART)]
)
async def test_one_click_stops_what_the_link_is_about(
    door: Door, scope: Scope, left: tuple[bool, bool], raw: bytes, kind: str
) -> None:
    await add_person(door.domain, "bora", devices=0)
    path = link(door, scope)
    shown = await door.call("GET", path)
    assert (shown.status, shown.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert 'name="List-Unsubscribe" value="One-Click"' in shown.raw.decode()
    assert await wanted(door) == (True, True), "a page changes nothing"
    for _ in range(2):
        done = await click(door, path, raw, kind)
        assert done.status == 200
        assert "<form" not in done.raw.decode()
        assert "Set-Cookie" not in done.headers
    assert await wanted(door) == left


async def test_the_page_may_post_to_itself_from_a_browser(door: Door) -> None:
    """Its policy lets the form out, and the browser names the page as its origin."""
    await add_person(door.domain, "bora", devices=0)
    shown = await door.call("GET", link(door))
    assert "form-action 'self'" in shown.headers["Content-Security-Policy"]
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert shown.headers["Referrer-Policy"] == "same-origin"
    origin = door.url
    headers = {"Content-Type": FORM, "Origin": origin}
    path = link(door)
    done = await door.call("POST", path, data=b"List-Unsubscribe=One-Click", headers=headers)
    assert done.status == 200


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", FORM),
        (b"List-Unsubscribe=Two-Clicks", FORM),
        (b"List-Unsubscribe=One-Click", "text/plain"),
        (b'{"List-Unsubscribe": "One-Click"}', "application/json"),
        (b"\xff\x00" * 50, FORM),
        (b"--x1\r\n\r\n\xff", MULTIPART),
        (PARTS, "multipart/form-data"),
    ],
)
@pytest.mark.refused
async def test_anything_else_stops_nothing(door: Door, raw: bytes, kind: str) -> None:
    await add_person(door.domain, "bora", devices=0)
    refused = await click(door, link(door), raw, kind)
    assert (refused.status, refused.code) == (400, "INVALID_PAYLOAD")
    assert await wanted(door) == (True, True)


async def test_a_body_that_is_too_large_is_refused(door: Door) -> None:
    await add_person(door.domain, "bora", devices=0)
    body, headers = BytesIO(b"x" * (1 << 20) + b"y"), {"Content-Type": FORM}
    assert (await door.call("POST", link(door), data=body, headers=headers)).status == 413


@pytest.mark.refused
async def test_a_link_that_is_not_ours_is_counted_and_ours_is_not(open_door: Any) -> None:
    door: Door = await open_door(rate_max=3)
    for _ in range(5):
        assert (await door.call("GET", link(door))).status == 200
    forged = link(door)[:-6] + "AAAAAA"
    codes = [(await click(door, forged)).code for _ in range(4)]
    assert codes == ["NOT_FOUND"] * 3 + ["RATE_LIMITED"]
    assert (await click(door, link(door, user_id="이" * 128))).status == 200, "nobody of that name"


async def feedback(door: Door, as_: str, **body: Any) -> Reply:
    at = datetime.now(UTC).isoformat()
    form = {"address": "Bora@Example.org", "kind": "bounce", "at": at} | body
    return await door.call("POST", f"{PREFIX}/mail/feedback", form, as_=as_)


async def test_feedback_suppresses_an_address_however_it_is_written(door: Door) -> None:
    assert (await feedback(door, door.key)).status == 204
    again = await feedback(door, door.key, address="Bora <BORA@EXAMPLE.ORG>", kind="complaint")
    assert again.status == 204
    rows = await door.domain.pool.fetch("SELECT address, reason FROM suppressions")
    assert [tuple(row) for row in rows] == [("bora@example.org", "bounce")]


async def test_feedback_is_for_services_with_the_scope_and_about_addresses(door: Door) -> None:
    without = await sessions.add_service(door.domain, "other", scopes=("notify:write",))
    assert (await feedback(door, without)).status == 403
    assert (await feedback(door, "bora")).status == 403
    for bad in ({"address": "nobody"}, {"kind": "spam"}, {"address": "a@b, c@d"}):
        refused = await feedback(door, door.key, **bad)
        assert (refused.status, refused.code) == (400, "INVALID_PAYLOAD")
    assert await door.count("suppressions") == 0
