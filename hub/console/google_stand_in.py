"""A service account that nobody gave out, and the token endpoint that knows it.

For a local FCM: the sender signs a real assertion with a real key, and it is really checked.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_MAX_LIFE_S: Final = 3600


class GrantDenied(Exception):
    """The assertion is not good; the text says why, as Google's `error_description` does."""


def new_key() -> rsa.RSAPrivateKey:
    """Takes 0.1 s of CPU, once in a while much more."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class StandInAccount:
    """A throw-away RSA key with its credentials file and the tokens given for it."""

    def __init__(self, project_id: str, key: rsa.RSAPrivateKey | None = None) -> None:
        self.project_id = project_id
        self.client_email = f"sender@{project_id}.example"
        self._key = key or new_key()
        self._bearers: set[str] = set()

    def write(self, path: Path, token_uri: str) -> None:
        """The file a service account comes in, readable by its owner only from the first byte."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        content = {
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": secrets.token_hex(8),
            "private_key": pem.decode(),
            "client_email": self.client_email,
            "token_uri": token_uri,
        }
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file)

    def grant(
        self, form: Mapping[str, Any], token_uri: str, *, life_s: int = 3600
    ) -> dict[str, Any]:
        """The token endpoint's answer to a form of RFC 7523 §2.1. Raises GrantDenied."""
        if form.get("grant_type") != GRANT_TYPE:
            raise GrantDenied("unsupported grant_type")
        try:
            claims = jwt.decode(
                str(form.get("assertion", "")),
                self._key.public_key(),
                algorithms=["RS256"],
                audience=token_uri,
                issuer=self.client_email,
                options={"require": ["exp", "iat", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            raise GrantDenied(str(error)) from None
        if claims["exp"] - claims["iat"] > _MAX_LIFE_S or claims.get("scope") != SCOPE:
            raise GrantDenied("lifetime or scope not allowed")
        bearer = secrets.token_urlsafe(24)
        self._bearers.add(bearer)
        return {"access_token": bearer, "expires_in": life_s, "token_type": "Bearer"}

    def holds(self, authorization: str | None) -> bool:
        """Whether the header carries a token given here and not withdrawn."""
        scheme, _, bearer = (authorization or "").partition(" ")
        return scheme == "Bearer" and bearer in self._bearers

    def withdraw_all(self) -> None:
        self._bearers.clear()
