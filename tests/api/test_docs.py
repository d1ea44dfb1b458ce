"""The description: readable, whole, and nothing in it from another address."""

import re

import pytest

from tests.api.conftest import Door


@pytest.mark.parametrize("path", ["/docs", "/docs/codes"])
async def test_pages_load_nothing_else(door: Door, path: str) -> None:
    page = await door.call("GET", path, headers={"Accept": "text/html"})
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    html = page.raw.decode()
    assert not re.search(r"<(script|link|img|iframe|object|embed)|@import|url\(|https?://", html)
    assert 'name="viewport"' in html
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    links = re.findall(r'href="(/[^"]*)"', html)
    assert len(links) == 4
    for link in links:
        assert (await door.call("GET", link)).status == 200


async def test_the_index_shows_every_operation_and_event(door: Door) -> None:
    html = (await door.call("GET", "/docs")).raw.decode()
    rest = (await door.call("GET", "/docs/openapi.json")).body
    events = (await door.call("GET", "/docs/asyncapi.json")).body
    for path in rest["paths"]:
        assert f"<code>{path}</code>" in html
    for message in events["components"]["messages"].values():
        assert f"<code>{message['name']}</code>" in html


async def test_codes_come_as_page_and_as_json(door: Door) -> None:
    page = await door.call("GET", "/docs/codes", headers={"Accept": "text/html,*/*;q=0.8"})
    plain = await door.call("GET", "/docs/codes", headers={"Accept": "application/json"})
    named = await door.call("GET", "/docs/codes.json")
    assert plain.body == named.body
    assert "Accept" in plain.headers.getall("Vary")
    errors = {row["code"]: row["comeBack"] for row in plain.body["errors"]}
    assert errors["UNAVAILABLE"] is True
    assert errors["TOKEN_REVOKED"] is False
    assert all(f"<td>{code}</td>" in page.raw.decode() for code in errors)
