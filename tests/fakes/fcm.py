"""A local FCM over real HTTP: token endpoint and messages:send, with faults on order.

In a test: `async with FakeFcm(tmp_path) as fake`. As a process, for stories with kill -9:
`python -m tests.fakes.fcm --directory DIR [--port 0]`, which prints one JSON line
`{"url", "credentials_file"}` and is steered over `/control/…` (tests/fakes/script.py).
Steps for a Fault's `at`: `token`, `send`.
"""

import argparse
import asyncio
import json
import secrets
import signal
from functools import cache
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from hub.console.google_stand_in import GrantDenied, StandInAccount, new_key
from tests.fakes import fcm_schema
from tests.fakes.http import HttpFake

PROJECT = "dongne-test"
KEY = cache(new_key)
"""One a process: no test looks whose it is."""


class FakeFcm(HttpFake):
    """Checks what it is given as the real one does; records what it takes.

    A received message: `{n, token, message, headers, bearer}`. `unregistered`, `garbled`,
    `foreign` and `noisy` hold device tokens that get the real answers for a dead token, for a
    malformed one, for one of another project, and for a device over its own quota. `apns_key`
    false: the key that Apple wants is broken, for whichever token.
    """

    def __init__(self, directory: Path, *, port: int = 0, token_life_s: int = 3600) -> None:
        super().__init__(port=port)
        self.credentials_file = directory / "fcm-credentials.json"
        self.unregistered: set[str] = set()
        self.garbled: set[str] = set()
        self.foreign: set[str] = set()
        self.noisy: set[str] = set()
        self.apns_key = True
        self.grants = 0
        self.sends = 0
        self.refused_bearers = 0
        self.token_life_s = token_life_s
        self.account = StandInAccount(PROJECT, KEY())

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.account.write(self.credentials_file, f"{self.url}/token")
        return self

    def steps(self) -> list[web.RouteDef]:
        return [
            web.post("/token", self._token),
            web.post(f"/v1/projects/{PROJECT}/messages:send", self._send),
        ]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.grants += 1
        fault = self.next_fault("token")
        if fault is not None:
            answer = await self.act(request, fault)
            if answer is not None:
                return answer
        try:
            form = await request.post()
            grant = self.account.grant(form, f"{self.url}/token", life_s=self.token_life_s)
        except GrantDenied as denied:
            return web.json_response(
                {"error": "invalid_grant", "error_description": str(denied)}, status=400
            )
        return web.json_response(grant)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        self.sends += 1
        if not self.account.holds(request.headers.get("Authorization")):
            self.refused_bearers += 1
            return web.json_response(fcm_schema.NO_BEARER, status=401)
        body = json.loads(await request.read())
        refusal = fcm_schema.refusal(body)
        if refusal is not None:
            return web.json_response(refusal, status=refusal["error"]["code"])
        message = {
            "token": body["message"]["token"],
            "message": body["message"],
            "headers": {k: v for k, v in request.headers.items() if k != "Authorization"},
        }
        self.note(message)
        fault = self.next_fault("send", message)
        if fault is not None:
            if fault.taken:
                await self.record(message)
            answer = await self.act(request, fault)
            if answer is not None:
                return answer
        refusal = self._token_refusal(message["token"])
        if refusal is not None:
            wait = {"Retry-After": "60"} if refusal is fcm_schema.DEVICE_QUOTA else None
            return web.json_response(refusal, status=refusal["error"]["code"], headers=wait)
        if fault is None or not fault.taken:
            await self.record(message)
        return web.json_response({"name": f"projects/{PROJECT}/messages/{secrets.token_hex(8)}"})

    def _token_refusal(self, token: str) -> dict[str, Any] | None:
        if token in self.garbled:
            return fcm_schema.NOT_A_TOKEN
        if token in self.foreign:
            return fcm_schema.WRONG_SENDER
        if token in self.noisy:
            return fcm_schema.DEVICE_QUOTA
        if not self.apns_key:
            return fcm_schema.NO_APNS_KEY
        return fcm_schema.UNREGISTERED if token in self.unregistered else None


async def _serve(directory: Path, port: int) -> None:
    loop = asyncio.get_running_loop()
    async with FakeFcm(directory, port=port) as fake:
        loop.add_signal_handler(signal.SIGTERM, fake.dead.set)
        print(
            json.dumps({"url": fake.url, "credentials_file": str(fake.credentials_file)}),
            flush=True,
        )
        await fake.dead.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(_serve(options.directory, options.port))


if __name__ == "__main__":
    main()
