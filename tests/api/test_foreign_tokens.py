"""Tokens that another service signed: taken by its keys alone; others are refused and counted."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from statistics import median
from typing import Any, Final
from uuid import uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from hub.domain.context import Domain
from hub.plumbing.http.jwks import PublicKeys
from hub.plumbing.settings.settings import Settings
from protocol.tokens import ALGORITHMS
from tests.api.conftest import PREFIX, Door, Reply, errors_counted, serve
from tests.fakes.jwks import JwksServer

ISSUER_KEY: Final = ec.generate_private_key(ec.SECP256R1())
NEXT_KEY: Final = ec.generate_private_key(ec.SECP256R1())


def entry(key: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}


@pytest.fixture
async def issuer() -> AsyncIterator[JwksServer]:
    async with JwksServer().running() as one:
        one.keys = [entry(ISSUER_KEY, "k1")]
        yield one


@pytest.fixture
async def foreign(
    domain: Domain, settings: Settings, service_key: str, issuer: JwksServer
) -> AsyncIterator[Door]:
    """A door that takes the tokens of `issuer`, for us and by its own names of claims."""
    keys = PublicKeys(issuer.url, pause_s=0)
    tokens = replace(
        domain.tokens,
        algorithms=ALGORITHMS,
        audience="dongne",
        plain=True,
        subject_claim="user_id",
    )
    taking = replace(domain, tokens=tokens, public_keys=keys)
    server, url = await serve(taking, settings)
    async with aiohttp.ClientSession() as http:
        yield Door(url, taking, http, service_key)
    await server.close()
    await keys.close()


def signed(kid: str | None = "k1", key: Any = ISSUER_KEY, alg: str = "ES256", **more: Any) -> str:
    now = time.time()
    claims = {"user_id": 42, "iss": "id", "aud": "dongne", "iat": now, "exp": now + 60, **more}
    return jwt.encode(claims, key, algorithm=alg, headers={"kid": kid} if kid else {})


async def ask(door: Door, token: str) -> Reply:
    return await door.call("GET", f"{PREFIX}/devices", as_=token)


async def test_its_tokens_are_taken(foreign: Door, issuer: JwksServer) -> None:
    for token in (signed(), signed(kid=None), signed(aud=["x", "dongne"])):
        assert (await ask(foreign, token)).status == 200
    assert issuer.asked == 1


async def test_our_own_tokens_need_no_set(foreign: Door, issuer: JwksServer) -> None:
    assert (await ask(foreign, foreign.token("mina"))).status == 200
    assert issuer.asked == 0


async def test_a_new_key_is_found_at_its_first_token(foreign: Door, issuer: JwksServer) -> None:
    assert (await ask(foreign, signed())).status == 200
    issuer.keys.append(entry(NEXT_KEY, "k2"))
    assert (await ask(foreign, signed("k2", NEXT_KEY))).status == 200
    assert issuer.asked == 2


async def test_without_any_keys_nobody_is_told_that_the_token_is_bad(
    foreign: Door, issuer: JwksServer
) -> None:
    issuer.answer = web.Response(status=500)
    reply = await ask(foreign, signed())
    assert (reply.status, reply.code) == (503, "UNAVAILABLE")
    assert (await ask(foreign, signed())).status == 200


@pytest.mark.fault(17)
@pytest.mark.refused
async def test_whatever_is_wrong_with_one_it_is_refused_and_counted(foreign: Door) -> None:
    bad = {
        "foreign kid": signed("of another service"),
        "another's key": signed(key=NEXT_KEY),
        "wrong audience": signed(aud="another"),
        "no audience": signed(aud=None),
        "a secret of nobody's": signed(None, "s" * 40, "HS256"),
        "not signed": signed(None, "", "none"),
        "another curve": signed(key=ec.generate_private_key(ec.SECP384R1()), alg="ES384"),
        "no person": signed(user_id=None),
        "a refresh token": signed(typ="refresh"),
    }
    before = errors_counted("UNAUTHENTICATED")
    for what, token in bad.items():
        reply = await ask(foreign, token)
        assert (reply.status, reply.code) == (401, "UNAUTHENTICATED"), what
    assert errors_counted("UNAUTHENTICATED") - before == len(bad)


async def test_without_a_number_it_is_revoked_by_person_and_time(foreign: Door) -> None:
    old, numbered = signed(iat=time.time() - 5), signed(jti="n1")
    revoke = f"{PREFIX}/auth/revoke"
    assert (await foreign.call("POST", revoke, {"jti": "n1"}, as_=foreign.key)).status == 204
    assert (await ask(foreign, numbered)).code == "TOKEN_REVOKED"
    assert (await ask(foreign, old)).status == 200
    assert (await foreign.call("POST", revoke, {"userId": "42"}, as_=foreign.key)).status == 204
    assert (await ask(foreign, old)).code == "TOKEN_REVOKED"
    assert (await ask(foreign, signed())).status == 200
    out = await foreign.call("POST", f"{PREFIX}/auth/logout", {}, as_=signed())
    assert out.code == "CONFLICT"


@pytest.mark.fault(17)
@pytest.mark.refused
async def test_how_long_a_wrong_key_takes_tells_nothing(door: Door) -> None:
    """A service that exists, with a wrong secret, is answered when one that does not exist is: both
    wait for the same reading of the list."""
    existing, made_up = f"dk_qa-service.{'x' * 43}", f"dk_{uuid4()}.{'x' * 43}"

    async def took(key: str) -> float:
        start = time.perf_counter()
        reply = await door.call("GET", f"{PREFIX}/regions", as_=key)
        assert reply.code == "UNAUTHENTICATED"
        return time.perf_counter() - start

    times = await asyncio.gather(*(took(key) for key in (existing, made_up) * 20))
    ones, others = median(times[::2]), median(times[1::2])
    assert abs(ones - others) < 0.25 * max(ones, others)
