"""Tokens: who may speak, and who may no longer."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from protocol.errors import Code, HubError
from protocol.tokens import (
    LONGEST_LIFE_S,
    TokenKeys,
    hash_secret,
    new_service_key,
    read_access,
    sign_access,
    sign_refresh,
    split_service_key,
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
def test_what_is_no_token_is_unauthenticated(text: object) -> None:
    assert code_of(text) is Code.UNAUTHENTICATED


def test_a_refresh_token_opens_nothing() -> None:
    text = sign_refresh(KEYS, "mina", "f", now=NOW, ttl_s=900, jti="r")
    assert code_of(text) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("claims", [{"sub": 5}, {"role": "root"}, {"iss": "other"}, {"iat": "x"}])
def test_claims_of_the_wrong_form_are_refused(claims: dict[str, object]) -> None:
    at = NOW.timestamp()
    good: dict[str, object] = {
        "sub": "mina", "role": "user", "typ": "access", "jti": "j", "iss": "hub",
        "iat": at, "exp": at + 900,
    }  # fmt: skip
    text = jwt.encode({**good, **claims}, "n" * 32, algorithm="HS256")
    assert code_of(text) is Code.UNAUTHENTICATED


def test_no_algorithm_of_the_sender_is_believed() -> None:
    text = jwt.encode({"sub": "mina"}, "", algorithm="none")
    assert code_of(text) is Code.UNAUTHENTICATED


def test_a_service_key_is_split_and_only_its_hash_kept() -> None:
    key, kept = new_service_key("qa.v2")
    assert split_service_key(key) is not None
    client, secret = split_service_key(key) or ("", "")
    assert client == "qa.v2"
    assert hash_secret(secret) == kept
    assert [split_service_key(bad) for bad in ("", "dk_", "dk_a", "a.b")] == [None] * 4
