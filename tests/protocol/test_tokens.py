"""Tokens: who may speak, and who may no longer."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest

from protocol.errors import Code, HubError
from protocol.service_keys import new_service_key, split_service_key
from protocol.tokens import (
    LONGEST_LIFE_S,
    TokenKeys,
    csrf_token,
    hash_secret,
    is_csrf_token,
    read_access,
    read_refresh,
    sign_access,
    sign_refresh,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
KEYS = TokenKeys(("n" * 32, "o" * 32), "hub")


def signed(keys: TokenKeys = KEYS, ttl_s: float = 900) -> str:
    return sign_access(keys, "mina", "user", now=NOW, ttl_s=ttl_s, jti="j1")


def code_of(text: object, now: datetime = NOW) -> Code:
    with pytest.raises(HubError) as refused:
        read_access(KEYS, text, now=now)
    return refused.value.code


def test_a_token_is_read_with_the_fraction_of_its_issue() -> None:
    token = read_access(KEYS, signed(), now=NOW)
    assert (token.user_id, token.role, token.jti) == ("mina", "user", "j1")
    assert token.issued_at == NOW.timestamp()


def test_the_previous_secret_still_verifies_and_a_strange_one_does_not() -> None:
    assert read_access(KEYS, signed(TokenKeys(("o" * 32,), "hub")), now=NOW).user_id == "mina"
    assert code_of(signed(TokenKeys(("x" * 32,), "hub"))) is Code.UNAUTHENTICATED


def test_it_ends_at_its_expiry() -> None:
    text = signed()
    read_access(KEYS, text, now=NOW + timedelta(seconds=899.9))
    assert code_of(text, NOW + timedelta(seconds=900)) is Code.TOKEN_EXPIRED


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("iat", "exp", "valid"),
    [
        (0, 900, True),
        (59, 900, True),  # a clock that is ahead
        (61, 900, False),
        (86_400, 90_000, False),
        (0, LONGEST_LIFE_S, True),
        (0, LONGEST_LIFE_S + 1, False),
        (-LONGEST_LIFE_S + 900, 900, True),
        (-LONGEST_LIFE_S, 900, False),  # long ago is long, too
        (0, 10**12, False),
    ],
)
def test_it_is_of_the_past_and_has_a_longest_life(iat: float, exp: float, valid: bool) -> None:
    """Seconds from now."""
    at = NOW.timestamp()
    claims = {"sub": "mina", "role": "user", "typ": "access", "jti": "j", "iss": "hub"}
    text = jwt.encode({**claims, "iat": at + iat, "exp": at + exp}, "n" * 32, algorithm="HS256")
    if valid:
        assert read_access(KEYS, text, now=NOW).user_id == "mina"
    else:
        assert code_of(text) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("text", [None, "", 5, {}, "a.b.c", "x" * 5000, "\ud800", signed()[:-2]])
@pytest.mark.refused
def test_what_is_no_token_is_unauthenticated(text: object) -> None:
    assert code_of(text) is Code.UNAUTHENTICATED


@pytest.mark.refused
def test_a_refresh_token_opens_nothing() -> None:
    text = sign_refresh(KEYS, "mina", "f", now=NOW, ttl_s=900, jti="r")
    assert code_of(text) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("claims", [{"sub": 5}, {"role": "root"}, {"iss": "other"}, {"iat": "x"}])
@pytest.mark.refused
def test_claims_of_the_wrong_form_are_refused(claims: dict[str, object]) -> None:
    at = NOW.timestamp()
    good: dict[str, object] = {
        "sub": "mina", "role": "user", "typ": "access", "jti": "j", "iss": "hub",
        "iat": at, "exp": at + 900,
    }  # fmt: skip
    text = jwt.encode({**good, **claims}, "n" * 32, algorithm="HS256")
    assert code_of(text) is Code.UNAUTHENTICATED


@pytest.mark.refused
def test_no_algorithm_of_the_sender_is_believed() -> None:
    text = jwt.encode({"sub": "mina"}, "", algorithm="none")
    assert code_of(text) is Code.UNAUTHENTICATED


def test_a_refresh_token_is_read_and_nothing_else_is_one() -> None:
    jti, family = uuid4(), uuid4()
    text = sign_refresh(
        KEYS, "mina", str(family), now=NOW, ttl_s=8 * 86_400, jti=str(jti), role="admin"
    )
    token = read_refresh(KEYS, text, now=NOW)
    assert (token.user_id, token.role, token.jti, token.family) == ("mina", "admin", jti, family)
    late = NOW + timedelta(days=8)
    for other, now, code in (
        (signed(), NOW, Code.UNAUTHENTICATED),
        (text, late, Code.TOKEN_EXPIRED),
        (text, NOW - timedelta(minutes=2), Code.UNAUTHENTICATED),
        (text[:-4], NOW, Code.UNAUTHENTICATED),
        (None, NOW, Code.UNAUTHENTICATED),
    ):
        with pytest.raises(HubError) as refused:
            read_refresh(KEYS, other, now=now)
        assert refused.value.code is code


@pytest.mark.parametrize(
    "claims", [{"jti": "7"}, {"fam": None}, {"fam": 7}, {"sub": ""}, {"iss": "x"}, {"role": None}]
)
def test_a_refresh_token_of_another_form_is_refused(claims: dict[str, object]) -> None:
    good = {**GOOD, "typ": "refresh", "jti": str(uuid4()), "fam": str(uuid4())}
    text = jwt.encode({**good, **claims}, "n" * 32, algorithm="HS256")
    if claims == {"role": None}:
        assert read_refresh(KEYS, text, now=NOW).role == "user"
        return
    with pytest.raises(HubError) as refused:
        read_refresh(KEYS, text, now=NOW)
    assert refused.value.code is Code.UNAUTHENTICATED


def test_a_csrf_token_fits_one_login_and_both_secrets() -> None:
    family = uuid4()
    told = csrf_token(KEYS, family)
    assert is_csrf_token(KEYS, family, told)
    assert is_csrf_token(TokenKeys(("p" * 32, "n" * 32), "hub"), family, told)
    for wrong in ("", told[:-1], told + "x", csrf_token(KEYS, uuid4()), "\ud800", "é" * 43):
        assert not is_csrf_token(KEYS, family, wrong)
    assert not is_csrf_token(TokenKeys(("x" * 32,), "hub"), family, told)


def test_a_service_key_is_split_and_only_its_hash_kept() -> None:
    key, kept = new_service_key("qa.v2")
    assert split_service_key(key) is not None
    client, secret = split_service_key(key) or ("", "")
    assert client == "qa.v2"
    assert hash_secret(secret) == kept
    assert [split_service_key(bad) for bad in ("", "dk_", "dk_a", "a.b")] == [None] * 4


AT = NOW.timestamp()
GOOD = {
    "sub": "mina", "role": "user", "typ": "access", "jti": "j", "iss": "hub",
    "iat": AT, "exp": AT + 900,
}  # fmt: skip


def with_claims(**texts: str) -> str:
    """A token of good claims but for these, given as JSON text: json.dumps would refuse some."""
    claims = {name: json.dumps(value) for name, value in GOOD.items()} | texts
    body = "{" + ",".join(f'"{name}":{text}' for name, text in claims.items()) + "}"
    signed = base64url(b'{"alg":"HS256","typ":"JWT"}') + "." + base64url(body.encode())
    key = hmac.new(b"n" * 32, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(key)}"


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


ENDLESS = ["1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400, '"1e9"', "true", "[]", "{}"]


@pytest.mark.fault(17)
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ENDLESS)
def test_times_are_finite_numbers(claim: str, value: str) -> None:
    assert code_of(with_claims(**{claim: value})) is Code.UNAUTHENTICATED


@pytest.mark.fault(17)
def test_a_token_begins_at_nbf() -> None:
    tomorrow = with_claims(nbf=str(AT + 86_400))
    assert code_of(tomorrow) is Code.UNAUTHENTICATED
    for nbf in (AT - 60, AT, AT + 59, -1, 0):
        assert read_access(KEYS, with_claims(nbf=str(nbf)), now=NOW).user_id == "mina"
    later = with_claims(nbf=str(AT + 61))
    assert code_of(later) is Code.UNAUTHENTICATED
    assert read_access(KEYS, later, now=NOW + timedelta(seconds=60)).user_id == "mina"


@pytest.mark.fault(10)
@pytest.mark.parametrize("claim", ["sub", "jti"])
@pytest.mark.parametrize(
    "value", [r'"a\u0000"', r'"\ud800"', r'"\u001b[2J"', '""', '"' + "x" * 300 + '"', "7", "null"]
)
def test_a_name_that_no_store_takes_is_no_name(claim: str, value: str) -> None:
    assert code_of(with_claims(**{claim: value})) is Code.UNAUTHENTICATED


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    "key", ["dk_local.\udcff", "dk_\udce9.secret", "dk_a\x00.b", "dk_a.\ud800"]
)
def test_a_key_that_is_no_text_is_no_key(key: str) -> None:
    assert split_service_key(key) is None
