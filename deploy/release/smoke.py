#!/usr/bin/env python3
"""`smoke.py URL`: whether an installation does its work, seen from outside (S4-25, S2-148).

Both doors answer, each documented route answers something other than 404 (S4-14, S4-36), a
WebSocket opens, and the figures are not to be had. Only Python's standard library; exit code 1 when
anything is not so, each fault on a line of its own. Nothing is changed: requests that write carry
no credentials.
"""

import base64
import http.client
import json
import os
import re
import ssl
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

TIMEOUT_S = 10.0
SAMPLE = "smoke"
"""In the place of each id: one that nobody has."""

NO_PATH = b"There is no such path."
"""What tells a route that is not there from a thing that is not there (api/gate.py)."""


def connect(url: SplitResult) -> http.client.HTTPConnection:
    if url.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(url.netloc, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)


def ask(url: SplitResult, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body. Raises OSError or HTTPException when there is no answer."""
    connection = connect(url)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer.status, b"" if answer.status == 101 else answer.read()
    finally:
        connection.close()


def faults(url: SplitResult) -> Iterator[str]:
    for path in ("/api/v1/health/live", "/api/v1/health/ready", "/api/v1/regions"):
        status, _ = ask(url, "GET", path)
        if status != 200:
            yield f"GET {path}: {status}"
    status, body = ask(url, "GET", "/socket.io/?EIO=4&transport=polling")
    if status == 200:
        if not body.startswith(b"0{"):
            yield "polling: what answers speaks no Engine.IO"
    elif b"transport" not in body.lower():  # a deployment for WebSocket only says so
        yield f"polling: {status}"
    status, _ = ask(
        url,
        "GET",
        "/socket.io/?EIO=4&transport=websocket",
        Connection="Upgrade",
        Upgrade="websocket",
        Sec_WebSocket_Version="13",
        Sec_WebSocket_Key=base64.b64encode(os.urandom(16)).decode(),
    )
    if status != 101:
        yield f"WebSocket: {status} instead of 101"
    for path in ("/metrics", "/%6detrics"):
        status, body = ask(url, "GET", path)
        if b"active_connections" in body:
            yield f"GET {path}: the figures are open to everybody"
    yield from undocumented(url)


def undocumented(url: SplitResult) -> Iterator[str]:
    """Routes of the API's own page that are not there."""
    status, body = ask(url, "GET", "/docs/openapi.json")
    if status != 200:
        yield f"GET /docs/openapi.json: {status}"
        return
    page: dict[str, Any] = json.loads(body)
    for path, methods in page["paths"].items():
        for method in methods:
            if method.upper() not in ("GET", "POST", "PUT", "DELETE"):
                continue
            where = re.sub(r"\{\w+\}", SAMPLE, path)
            status, body = ask(url, method.upper(), where)
            if status == 405 or NO_PATH in body or status >= 500:
                yield f"{method.upper()} {path}: {status}"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not urlsplit(sys.argv[1]).netloc:
        sys.exit("smoke.py URL")
    try:
        found = list(faults(urlsplit(sys.argv[1])))
    except (OSError, http.client.HTTPException, ValueError) as error:
        found = [f"{sys.argv[1]}: {type(error).__name__}: {error}"]
    print("\n".join(found) or "everything answers")
    sys.exit(1 if found else 0)
