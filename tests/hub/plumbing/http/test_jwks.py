"""How the keys of somebody else's tokens are had: seldom, bounded, and from one address alone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from hub.plumbing.http import jwks
from hub.plumbing.http.jwks import MOST_BYTES, PublicKeys
from protocol.errors import Code, HubError
from tests.fakes.jwks import JwksServer


def entry(kid: str) -> dict[str, Any]:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    return {**OKPAlgorithm.to_jwk(public, as_dict=True), "kid": kid}


FIRST: Final = entry("first")


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with JwksServer().running() as one:
        one.keys = [FIRST]
        yield one


def names(keys: PublicKeys) -> list[str]:
    return [key.kid for key in keys.known()]


async def test_it_is_fetched_when_it_is_needed_and_then_kept(server: JwksServer) -> None:
    keys = PublicKeys(server.url)
    assert keys.known() == ()
    assert server.asked == 0
    assert [key.kid for key in await keys.renewed()] == ["first"]
    for _ in range(100):
        assert names(keys) == ["first"]
    assert server.asked == 1


async def test_who_makes_up_names_costs_one_request(server: JwksServer) -> None:
    keys = PublicKeys(server.url)
    await asyncio.gather(*(keys.renewed() for _ in range(200)))
    for _ in range(50):
        await keys.renewed()
    assert server.asked == 1


async def test_a_rotated_key_is_had_once_the_pause_is_over(server: JwksServer) -> None:
    keys = PublicKeys(server.url, pause_s=0)
    await keys.renewed()
    server.keys = [FIRST, entry("second")]
    assert [key.kid for key in await keys.renewed()] == ["first", "second"]
    assert server.asked == 2


async def test_an_old_set_is_fetched_anew_beside_the_work(server: JwksServer) -> None:
    keys = PublicKeys(server.url, pause_s=0, fresh_s=0)
    await keys.renewed()
    server.keys = [entry("second")]
    assert names(keys) == ["first"]  # nobody waits
    async with asyncio.timeout(10):
        while names(keys) != ["second"]:
            await asyncio.sleep(0)
    await keys.close()


async def test_while_the_address_is_away_the_last_set_is_believed(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = PublicKeys(server.url, pause_s=0)
    await keys.renewed()
    server.answer = web.Response(status=500)
    assert [key.kid for key in await keys.renewed()] == ["first"]
    monkeypatch.setattr(jwks, "KEPT_S", -1.0)
    server.answer = web.Response(status=500)
    with pytest.raises(HubError) as refused:
        await keys.renewed()
    assert refused.value.code is Code.UNAVAILABLE


BAD: Final = {
    "nothing there": lambda: web.Response(status=404),
    "no JSON": lambda: web.Response(text="<html>"),
    "no set": lambda: web.json_response([1]),
    "too deep": lambda: web.Response(text="[" * 100_000),
    "too large": lambda: web.Response(text='{"keys": []}' + " " * MOST_BYTES),
    "compressed": lambda: web.Response(body=b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.refused
async def test_what_is_no_set_is_none(server: JwksServer, what: str) -> None:
    keys = PublicKeys(server.url, pause_s=0)
    server.answer = BAD[what]()
    with pytest.raises(HubError) as refused:
        await keys.renewed()
    assert refused.value.code is Code.UNAVAILABLE
    assert [key.kid for key in await keys.renewed()] == ["first"]


@pytest.mark.fault(17)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.refused
async def test_no_redirect_is_followed(server: JwksServer, status: int) -> None:
    """Not even to where the set does stand: it could be any address of the inside."""
    keys = PublicKeys(server.url)
    elsewhere = server.url.replace("/keys", "/elsewhere")
    server.answer = web.Response(status=status, headers={"Location": elsewhere})
    with pytest.raises(HubError):
        await keys.renewed()
    assert server.elsewhere == 0


async def test_a_slow_address_is_not_waited_for(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "ANSWER_S", 0.05)
    server.goes_on.clear()
    with pytest.raises(HubError) as refused:
        await PublicKeys(server.url).renewed()
    assert refused.value.code is Code.UNAVAILABLE


async def test_an_address_where_nobody_listens_is_away() -> None:
    with pytest.raises(HubError) as refused:
        await PublicKeys("http://127.0.0.1:1/keys").renewed()
    assert refused.value.code is Code.UNAVAILABLE
