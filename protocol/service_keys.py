"""Keys of services: how one is made, read and kept."""

import secrets
from typing import Final

from protocol.names import is_plain
from protocol.tokens import hash_secret

SERVICE_KEY_PREFIX: Final = "dk_"


def new_service_key(client_id: str) -> tuple[str, bytes]:
    """A key for a service client as it is shown once, and the hash that is kept."""
    secret = secrets.token_urlsafe(32)
    return f"{SERVICE_KEY_PREFIX}{client_id}.{secret}", hash_secret(secret)


def split_service_key(key: str) -> tuple[str, str] | None:
    """Client id and secret of a service key; None when the text is no service key."""
    if not key.startswith(SERVICE_KEY_PREFIX) or len(key) > 512 or not is_plain(key):
        return None
    client_id, dot, secret = key[len(SERVICE_KEY_PREFIX) :].rpartition(".")
    return (client_id, secret) if dot and client_id and secret else None
