"""The console at /: its files, the stock client, where the catcher is, and tokens for the page.

In development only, and only for this machine: a peer on loopback that names us by a loopback
name. Another site that points its name at 127.0.0.1 gets no token.
"""

import ipaddress
from importlib import resources
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import orjson
from aiohttp import web
from msgspec import Meta

from hub.domain import members
from hub.domain.context import Domain
from protocol.domain_events import UserUpdated
from protocol.errors import HubError, forbidden
from protocol.payload import Id, Request, read_json
from protocol.tokens import sign_access

FILES: Final = Path(str(resources.files("hub.console")))
CLIENT: Final = FILES / "node_modules/socket.io-client/dist/socket.io.min.js"
TYPES: Final = {
    "index.html": "text/html",
    "console.css": "text/css",
    "console.js": "text/javascript",
}
NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


class TokenRequest(Request):
    """`nickname`: the page's own people are made when they are first picked."""

    user_id: Id
    nickname: Annotated[str, Meta(min_length=1, max_length=50)] | None = None


class Page:
    def __init__(self, domain: Domain, catcher_url: str | None) -> None:
        self._domain = domain
        self._catcher_url = catcher_url

    async def file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", "index.html")
        if name not in TYPES:
            raise web.HTTPNotFound
        response = web.Response(
            body=(FILES / name).read_bytes(), content_type=TYPES[name], charset="utf-8"
        )
        response.headers["Content-Security-Policy"] = self._policy(request)
        response.headers["Cache-Control"] = "no-cache"
        return response

    def _policy(self, request: web.Request) -> str:
        """Nothing from another host; the page may ask us and the catcher."""
        asks = f"'self' ws://{request.host} {self._catcher_url or ''}".strip()
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
            f" connect-src {asks}; frame-src 'self'; base-uri 'none'; form-action 'none'"
        )

    async def client(self, _: web.Request) -> web.StreamResponse:
        """The stock socket.io-client, where Node servers serve it."""
        response = web.FileResponse(CLIENT)
        response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    async def config(self, _: web.Request) -> web.Response:
        return web.json_response({"catcherUrl": self._catcher_url})

    async def token(self, request: web.Request) -> web.Response:
        """POST {userId, nickname?} → {accessToken}; makes one of the page's people."""
        try:
            _only_this_machine(request)
            form = read_json(await request.read(), TokenRequest)
            return web.json_response({"accessToken": await self._sign(form)})
        except HubError as error:
            body = {"error": error.body(request.headers.get("X-Request-ID", str(uuid4())))}
            return web.json_response(body, status=error.status, dumps=_dumps)

    async def _sign(self, form: TokenRequest) -> str:
        d = self._domain
        async with d.outbox.change() as change:
            known = await change.conn.fetchval(
                "SELECT location_consent_at IS NOT NULL FROM users WHERE id = $1", form.user_id
            )
            if not known:
                person = UserUpdated(
                    user_id=form.user_id,
                    nickname=form.nickname,
                    email=f"{form.user_id}@localhost",
                    is_local_verified=not form.user_id.startswith("traveller"),
                    location_consent_at=d.now(),
                )
                await members.update(change, person)
        ttl = d.policy.access_ttl_s
        return sign_access(d.tokens, form.user_id, "user", now=d.now(), ttl_s=ttl, jti=str(uuid4()))


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


def _only_this_machine(request: web.Request) -> None:
    """Raises FORBIDDEN for a peer elsewhere, or one that calls us by another name."""
    name = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
    peer = ipaddress.ip_address(request.remote or "0.0.0.0")
    if (name or request.host) not in NAMES or not peer.is_loopback:
        raise forbidden("The console is for this machine only.")


def mount(app: web.Application, domain: Domain, catcher_url: str | None) -> None:
    """Add the console's routes to an application."""
    page = Page(domain, catcher_url)
    app.router.add_get("/", page.file)
    app.router.add_get("/console/config.json", page.config)
    app.router.add_get("/console/{name}", page.file)
    app.router.add_get("/socket.io/socket.io.min.js", page.client)
    app.router.add_post("/console/token", page.token)
