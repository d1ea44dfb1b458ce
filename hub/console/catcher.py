"""Where the demo's pushes and mails go: a local SMTP server and a local FCM, shown by the page.

The senders do not know the difference: they sign a real assertion, post a real message, speak real
SMTP. Listens on loopback only, answers only requests that name it by a loopback name, and lets only
the console's page read what was caught. Memory only, the last 200.

`GET /caught` → list, newest first. `GET /caught?after=N` waits up to 25 s for something newer than
number N. One mail: `{n, at, channel: "mail", to, from, subject, text, html, messageId}`; one push:
`{n, at, channel: "push", token, title, body, data, ttl, collapseId, silent}`. The html of a mail is
somebody's text: show it in a sandboxed frame.
"""

import asyncio
import email
import email.policy
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from yarl import URL

from hub.console.google_stand_in import GrantDenied, StandInAccount
from protocol.payload import iso

KEPT: Final = 200
WAIT_S: Final = 25.0
_MAX_MAIL: Final = 1_048_576
_MAX_PUSH: Final = 65_536
_MAX_SHOWN: Final = 100_000
_PROJECT: Final = "dongne-local"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


class Caught:
    """The last pushes and mails, numbered from 1, and a wait for the next one."""

    def __init__(self) -> None:
        self._items: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._last = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def add(self, channel: str, item: dict[str, Any]) -> None:
        at = iso(datetime.now(UTC))
        async with self._changed:
            self._last += 1
            self._items.appendleft({"n": self._last, "at": at, "channel": channel, **item})
            self._changed.notify_all()

    def since(self, after: int) -> list[dict[str, Any]]:
        """Newest first. A number we never gave is one of an earlier run: everything is new."""
        first = 0 if after > self._last else after
        return [item for item in self._items if item["n"] > first]

    async def wait(self, after: int, seconds: float) -> list[dict[str, Any]]:
        """What is newer than `after`, as soon as there is something; empty when the time is up."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._closed or self.since(after))
        except TimeoutError:
            return []
        return self.since(after)

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


class Catcher:
    """The addresses to give to the senders and to the page."""

    def __init__(self, directory: Path, allowed_origin: str) -> None:
        self.caught = Caught()
        self.fcm_credentials_file = directory / "catcher-fcm.json"
        self.smtp_url = ""
        self.http_url = ""
        self._origins: frozenset[str] = frozenset()
        self._account = StandInAccount(_PROJECT)
        self.allow(allowed_origin)

    @property
    def fcm_url(self) -> str:
        return self.http_url

    def allow(self, origin: str) -> None:
        """From now on this page may read, by whichever name of this machine it was opened."""
        url = URL(origin)
        names = _LOOPBACK if _is_loopback(url) else (url.host,)
        self._origins = frozenset(f"{url.scheme}://{name}:{url.port}" for name in names)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_PUSH, middlewares=[self._guard])
        app.add_routes(
            [
                web.post("/token", self._token),
                web.post(f"/v1/projects/{_PROJECT}/messages:send", self._push),
                web.get("/caught", self._read),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Another site that points its name at 127.0.0.1, or asks from its own page, gets no."""
        origin = request.headers.get("Origin")
        if not _names_loopback(request.host) or (origin is not None and not self._trusts(origin)):
            return web.json_response({"error": "only the console on this machine"}, status=403)
        response: web.StreamResponse = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        return response

    def _trusts(self, origin: str) -> bool:
        return origin in self._origins

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            return web.json_response(self._account.grant(form, f"{self.http_url}/token"))
        except GrantDenied as denied:
            error = {"error": "invalid_grant", "error_description": str(denied)}
            return web.json_response(error, status=400)

    async def _push(self, request: web.Request) -> web.Response:
        if not self._account.holds(request.headers.get("Authorization")):
            return _refuse(401, "UNAUTHENTICATED")
        try:
            push = _read_push(json.loads(await request.read()))
        except (ValueError, TypeError, AttributeError, KeyError):
            return _refuse(400, "INVALID_ARGUMENT")
        await self.caught.add("push", push)
        name = f"projects/{_PROJECT}/messages/{secrets.token_hex(8)}"
        return web.json_response({"name": name})

    async def _read(self, request: web.Request) -> web.Response:
        after = request.query.get("after")
        if after is None:
            return web.json_response(self.caught.since(0))
        if not after.isascii() or not after.isdigit() or len(after) > 15:
            return web.json_response({"error": "after must be a number"}, status=400)
        return web.json_response(await self.caught.wait(int(after), WAIT_S))

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        raw = envelope.content if isinstance(envelope.content, bytes) else b""
        await self.caught.add("mail", _read_mail(raw, envelope))
        return "250 2.0.0 caught"

    def publish_account(self) -> None:
        self._account.write(self.fcm_credentials_file, f"{self.http_url}/token")


@asynccontextmanager
async def catcher(directory: Path, allowed_origin: str) -> AsyncIterator[Catcher]:
    """Runs both servers on free ports; `directory` gets the credentials file (0600) meanwhile.

    `allowed_origin`: of the console's page, such as `http://localhost:3001`.
    """
    caught = Catcher(directory, allowed_origin)
    loop = asyncio.get_running_loop()
    post = await loop.create_server(lambda: _smtp(caught), "127.0.0.1", 0)
    runner = web.AppRunner(caught.app(), shutdown_timeout=1.0, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        caught.smtp_url = f"smtp://127.0.0.1:{post.sockets[0].getsockname()[1]}"
        caught.http_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        caught.publish_account()
        yield caught
    finally:
        await caught.caught.close()
        caught.fcm_credentials_file.unlink(missing_ok=True)
        post.close()
        await runner.cleanup()


def _smtp(caught: Catcher) -> asyncio.Protocol:
    protocol: asyncio.Protocol = SMTP(
        caught,
        data_size_limit=_MAX_MAIL,
        enable_SMTPUTF8=True,
        hostname="localhost",
        timeout=30,
        loop=asyncio.get_running_loop(),
    )
    return protocol


def _read_mail(raw: bytes, envelope: Envelope) -> dict[str, Any]:
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    return {
        "to": [str(address) for address in envelope.rcpt_tos],
        "from": str(mail.get("From", "")),
        "subject": str(mail.get("Subject", "")),
        "text": _part(mail, "plain"),
        "html": _part(mail, "html"),
        "messageId": str(mail.get("Message-ID", "")),
    }


def _part(mail: Any, form: str) -> str:
    part = mail.get_body((form,))
    return str(part.get_content())[:_MAX_SHOWN] if part is not None else ""


def _read_push(body: dict[str, Any]) -> dict[str, Any]:
    """What a phone would show. Raises KeyError and the like for what is no message."""
    message = body["message"]
    shown, android = message.get("notification") or {}, message.get("android") or {}
    return {
        "token": str(message["token"]),
        "title": str(shown.get("title", "")),
        "body": str(shown.get("body", "")),
        "data": {str(name): str(value) for name, value in (message.get("data") or {}).items()},
        "ttl": android.get("ttl"),
        "collapseId": android.get("collapse_key"),
        "silent": not shown,
    }


def _refuse(status: int, name: str) -> web.Response:
    return web.json_response({"error": {"code": status, "status": name}}, status=status)


def _names_loopback(host: str) -> bool:
    try:
        return _is_loopback(URL(f"http://{host}"))
    except ValueError:
        return False


def _is_loopback(url: URL) -> bool:
    return url.host in {"localhost", "127.0.0.1", "::1"}
