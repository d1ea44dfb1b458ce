"""Loaded by schemathesis: each call comes from another person, so that no limit hides a fault."""

import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import schemathesis

from protocol.tokens import TokenKeys, sign_access

KEYS = TokenKeys((os.environ["SCHEMA_JWT_SECRET"],), "hub")


@schemathesis.auth(refresh_interval=None)
class Credentials:
    def get(self, case: Any, context: Any) -> str:
        if context.operation.definition.raw["x-auth"].startswith("service"):
            return os.environ["SCHEMA_SERVICE_KEY"]
        return sign_access(
            KEYS, f"p-{uuid4()}", "user", now=datetime.now(UTC), ttl_s=900, jti=str(uuid4())
        )

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"
