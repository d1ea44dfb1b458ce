"""Signed links in mails: who stops which mails. Their key is LINK_SECRET, so that a new JWT_SECRET
breaks no mail that is out, and they have no end (RFC 8058 §3.1 asks for a link nobody can forge).
"""

import hmac
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final, Literal

from protocol.names import is_plain

Scope = Literal["digest", "all"]
SCOPES: Final[dict[str, Scope]] = {"d": "digest", "a": "all"}
LETTERS: Final = {scope: letter for letter, scope in SCOPES.items()}
SEAL_BYTES: Final = 20
MOST_CHARS: Final = 1024
"""Of a token in a path: a person's id has 128 characters of four bytes at most."""


@dataclass(frozen=True, slots=True)
class Unsubscription:
    user_id: str
    scope: Scope


def sign_unsubscription(secret: str, wish: Unsubscription) -> str:
    """The last part of the link's path: base64url of letter, id and seal."""
    said = (LETTERS[wish.scope] + wish.user_id).encode()
    return urlsafe_b64encode(_seal(secret, said) + said).rstrip(b"=").decode()


def read_unsubscription(secret: str, token: str) -> Unsubscription | None:
    """None for what we have not signed."""
    if not secret or len(token) > MOST_CHARS:
        return None
    try:
        raw = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        seal, said = raw[:SEAL_BYTES], raw[SEAL_BYTES:]
        if not hmac.compare_digest(_seal(secret, said), seal):
            return None
        text = said.decode()
    except ValueError:
        return None
    scope, user_id = SCOPES.get(text[:1]), text[1:]
    if scope is None or not user_id or not is_plain(user_id):
        return None
    return Unsubscription(user_id, scope)


def _seal(secret: str, said: bytes) -> bytes:
    return hmac.digest(secret.encode(), b"unsubscribe " + said, "sha256")[:SEAL_BYTES]
