"""Tokens of somebody else's: which keys of a set are believed, and for which algorithm alone."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from protocol.errors import Code, HubError
from protocol.jwks import MOST_KEYS, PublicKey, read_jwks
from protocol.tokens import ALGORITHMS, Token, TokenKeys, UnknownKey, kid_of, read_access

NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT: Final = NOW.timestamp()
KEYS: Final = TokenKeys(("n" * 32, "o" * 32), "hub", algorithms=ALGORITHMS)
CLAIMS: Final = {
    "sub": "mina", "role": "user", "typ": "access", "jti": "j", "iss": "hub",
    "iat": AT, "exp": AT + 900,
}  # fmt: skip

RSA: Final = rsa.generate_private_key(65537, 2048)
EC: Final = ec.generate_private_key(ec.SECP256R1())
ED: Final = ed25519.Ed25519PrivateKey.generate()
PRIVATE: Final[dict[str, Any]] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def jwk(key: Any, **changes: Any) -> dict[str, Any]:
    """An entry of a set, as an identity provider publishes it."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        told = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        told = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        told = OKPAlgorithm.to_jwk(key, as_dict=True)
    told.pop("key_ops", None)
    return {**told, "use": "sig", **changes}


SET: Final = {"keys": [jwk(key.public_key(), kid=name) for name, key in PRIVATE.items()]}
PUBLIC: Final = read_jwks(SET)


def signed(algorithm: str, kid: str | None = None, key: Any = None, **claims: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    key = key or PRIVATE[algorithm]
    return jwt.encode({**CLAIMS, **claims}, key, algorithm=algorithm, headers=headers)


def read(text: str, keys: TokenKeys = KEYS, public: tuple[PublicKey, ...] = PUBLIC) -> Token:
    return read_access(keys, text, now=NOW, public=public)


def code_of(text: str, keys: TokenKeys = KEYS, public: tuple[PublicKey, ...] = PUBLIC) -> Code:
    with pytest.raises(HubError) as refused:
        read(text, keys, public)
    return refused.value.code


@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize("named", [True, False])
def test_each_algorithm_is_verified_with_its_key(algorithm: str, named: bool) -> None:
    assert read(signed(algorithm, algorithm if named else None)).user_id == "mina"
    assert code_of(signed(algorithm, algorithm, sub="a" * 200)) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.refused
def test_an_algorithm_that_is_not_ours_to_take_is_refused(algorithm: str) -> None:
    assert code_of(signed(algorithm, algorithm), replace(KEYS, algorithms=("HS256",)))
    ours = jwt.encode(CLAIMS, "n" * 32, algorithm="HS256")
    assert read(ours).user_id == "mina"
    assert code_of(ours, replace(KEYS, algorithms=("RS256",))) is Code.UNAUTHENTICATED


def test_a_key_that_nobody_has_is_told_apart_so_that_the_set_can_be_fetched_anew() -> None:
    for text in (signed("RS256", "next"), signed("RS256", "ES256")):
        with pytest.raises(UnknownKey):
            read(text)
    with pytest.raises(UnknownKey):
        read(signed("RS256"), public=())
    for text in (signed("RS256", "RS256", key=rsa.generate_private_key(65537, 2048)),):
        with pytest.raises(HubError) as refused:
            read(text)
        assert not isinstance(refused.value, UnknownKey)


def test_two_keys_of_one_algorithm_while_they_are_rotated() -> None:
    second = ec.generate_private_key(ec.SECP256R1())
    both = read_jwks({"keys": [jwk(EC.public_key(), kid="a"), jwk(second.public_key(), kid="b")]})
    for text in (signed("ES256", "a"), signed("ES256", "b", second), signed("ES256", None, second)):
        assert read(text, public=both).user_id == "mina"
    assert code_of(signed("ES256", "a", second), public=both) is Code.UNAUTHENTICATED


def test_the_name_of_a_secret_chooses_among_the_secrets() -> None:
    for secret in KEYS.secrets:
        headers = {"kid": kid_of(secret)}
        assert read(jwt.encode(CLAIMS, secret, algorithm="HS256", headers=headers))
    wrong = {"kid": kid_of("n" * 32)}
    assert code_of(jwt.encode(CLAIMS, "o" * 32, algorithm="HS256", headers=wrong))
    foreign = jwt.encode(CLAIMS, "n" * 32, algorithm="HS256", headers={"kid": "foreign"})
    assert code_of(foreign) is Code.UNAUTHENTICATED


def by_hand(header: dict[str, Any], key: bytes) -> str:
    """A token as an attacker makes it: PyJWT would not sign with a public key."""
    parts = (json.dumps(part).encode() for part in (header, CLAIMS))
    text = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    seal = urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")
    return (text + b"." + seal).decode()


@pytest.mark.fault(17)
@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize("header", ["HS256", "RS256", "ES256", "EdDSA", "none", "hs256", ""])
@pytest.mark.refused
def test_a_public_key_is_no_secret_whatever_the_header_says(algorithm: str, header: str) -> None:
    """RFC 8725 §2.1: the classic confusion, with every form in which the key may be written."""
    public = PRIVATE[algorithm].public_key()
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk(public, kid=algorithm)).encode(),
        b"",
    ]
    for form in forms:
        for kid in ({}, {"kid": algorithm}):
            assert code_of(by_hand({"alg": header, **kid}, form)) is Code.UNAUTHENTICATED


@pytest.mark.fault(17)
@pytest.mark.refused
def test_keys_and_addresses_in_the_header_are_not_looked_at() -> None:
    own = rsa.generate_private_key(65537, 2048)
    told = jwk(own.public_key(), kid="RS256")
    for extra in (
        {"jwk": told},
        {"jku": "https://attacker.example/keys.json"},
        {"x5u": "https://attacker.example/chain.pem"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
    ):
        text = jwt.encode(CLAIMS, own, algorithm="RS256", headers={"kid": "RS256", **extra})
        assert code_of(text) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("headers", [{"kid": 7}, {"kid": ""}, {"kid": "a\x00"}, {"kid": "k" * 300}])
@pytest.mark.refused
def test_a_name_that_is_none_is_refused(headers: dict[str, Any]) -> None:
    assert code_of(by_hand({"alg": "HS256", **headers}, b"n" * 32)) is Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": urlsafe_b64encode(b"s" * 32).decode(), "kid": "s", "alg": "HS256"},
        jwk(RSA.public_key(), kid="e", use="enc"),
        jwk(RSA.public_key(), kid="e", key_ops=["encrypt"]),
        jwk(RSA.public_key(), kid="p", alg="PS256"),
        jwk(RSA.public_key(), kid="h", alg="HS256"),
        jwk(rsa.generate_private_key(65537, 1024).public_key(), kid="short"),
        jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), kid="p384"),
        jwk(RSA, kid="private"),
        jwk(RSA.public_key(), kid=7),
        jwk(RSA.public_key(), kid="a\n"),
        {**jwk(RSA.public_key(), kid="n"), "n": "!"},
        {**jwk(EC.public_key(), kid="x"), "x": "AAAA"},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
        {"kty": "what"},
        {"kty": ["RSA"]},
        {},
        "text",
        None,
    ],
)
def test_an_entry_that_verifies_nothing_is_passed_over(entry: Any) -> None:
    good = jwk(EC.public_key(), kid="good")
    assert [key.kid for key in read_jwks({"keys": [entry, good]})] == ["good"]


@pytest.mark.parametrize(
    "told", [None, [], "keys", {}, {"keys": {}}, {"keys": [{}] * (MOST_KEYS + 1)}]
)
def test_what_is_no_set_is_refused(told: Any) -> None:
    with pytest.raises(ValueError, match="keys"):
        read_jwks(told)


# --- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "valid"),
    [("hub", True), (["x", "hub"], True), ("other", False), (["other"], False), (None, False),
     ({"hub": 1}, False), (7, False), ([["hub"]], False), ("hubs", False)],
)  # fmt: skip
@pytest.mark.refused
def test_it_is_for_us(audience: Any, valid: bool) -> None:
    keys = replace(KEYS, audience="hub")
    text = signed("RS256", "RS256", **({} if audience is None else {"aud": audience}))
    if valid:
        assert read(text, keys).user_id == "mina"
    else:
        assert code_of(text, keys) is Code.UNAUTHENTICATED


PLAIN: Final = replace(KEYS, plain=True, subject_claim="user_id", role_claim="group")


def plain(**claims: Any) -> str:
    """A token of an existing backend: no typ, no jti, another iss."""
    told = {"user_id": "mina", "iss": "backend", "iat": AT, "exp": AT + 900, **claims}
    return jwt.encode(
        {name: value for name, value in told.items() if value is not None},
        "n" * 32,
        algorithm="HS256",
    )


def test_tokens_of_an_existing_backend_are_taken_where_they_are_wanted() -> None:
    token = read(plain(), PLAIN)
    assert (token.user_id, token.role, token.jti) == ("mina", "user", "")
    assert read(plain(jti="j7"), PLAIN).jti == "j7"
    assert read(plain(user_id=42), PLAIN).user_id == "42"
    assert code_of(plain(), replace(PLAIN, plain=False)) is Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("group", "role"),
    [("admin", "admin"), ("ADMIN", "admin"), ("Admin", "admin"), ("root", "user"), (None, "user"),
     (["admin"], "user"), (True, "user"), ("", "user"), ("user", "user")],
)  # fmt: skip
def test_its_roles_are_read_without_regard_to_case(group: Any, role: str) -> None:
    assert read(plain(group=group, role="admin"), PLAIN).role == role


@pytest.mark.parametrize(
    "claims",
    [{"user_id": None, "sub": "mina"}, {"user_id": True}, {"user_id": 1.5}, {"user_id": ""},
     {"user_id": ["mina"]}, {"iat": None}, {"exp": None}, {"typ": "refresh"}, {"jti": 7},
     {"exp": AT + 8 * 86_400}],
)  # fmt: skip
def test_what_it_must_have_it_has(claims: dict[str, Any]) -> None:
    assert code_of(plain(**claims), PLAIN) is Code.UNAUTHENTICATED


def test_the_hash_of_a_name_says_nothing_of_the_secret() -> None:
    assert len(kid_of("n" * 32)) == 8
    assert kid_of("n" * 32) != urlsafe_b64encode(hashlib.sha256(b"n" * 32).digest())[:8].decode()
