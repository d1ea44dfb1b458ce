"""The console at /: its files, the stock client, where the catcher is, and tokens for the page.

In development only, and only for this machine: a peer on loopback that names us by a loopback
name, and speaks for itself. Another site that points its name at 127.0.0.1 gets nothing, and what
a proxy on this machine forwards gets nothing either: it may come from anywhere.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

from aiohttp import web
from msgspec import Meta

from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.people.sessions import add_service
from protocol.domain_events import UserUpdated
from protocol.errors import forbidden
from protocol.payload import Id, Request, read_json
from protocol.tokens import Role, sign_access

FILES: Final = Path(str(resources.files("hub.console")))
CLIENT: Final = FILES / "node_modules/socket.io-client/dist/socket.io.min.js"
TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
FORWARDED: Final = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "x-original-forwarded-for",
     "true-client-ip", "cf-connecting-ip"}
)  # fmt: skip
"""With whatever begins with X-Forwarded: a proxy stands between."""

NICKNAME: Final = Meta(min_length=1, max_length=50)

OPERATOR: Final = "console-operator"
"""The page's administrator, the one person whose token says so: asks `explain`, keeps a chat."""

SHOP: Final = "console-shop"
"""The page's service, which gets a key in place of a token: it may publish to streams, no more."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline';"
    " img-src data:; connect-src {asks}; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
"""Nothing from another host, no script in the page; it may ask us (sockets, too) and the catcher.
Styles in attributes are for the mails it shows: their frames obey this policy, too."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TokenRequest(Request):
    """`nickname`: the page's own people are made when they are first picked."""

    user_id: Id
    nickname: Annotated[str, NICKNAME] | None = None


class Page:
    def __init__(self, domain: Domain, catcher_url: str | None) -> None:
        self._domain = domain
        self._catcher_url = catcher_url
        self._shop_key: str | None = None
        self._making_key = asyncio.Lock()
        self._policy = POLICY.format(asks=f"'self' {catcher_url or ''}".strip())
        self._files = {path.name: path for path in FILES.iterdir() if path.suffix in TYPES}

    async def file(self, request: web.Request) -> web.StreamResponse:
        path = self._files.get(request.match_info.get("name", "index.html"))
        if path is None:
            raise web.HTTPNotFound
        response = web.Response(
            body=path.read_bytes(), content_type=TYPES[path.suffix], charset="utf-8"
        )
        response.headers["Content-Security-Policy"] = self._policy
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def client(self, _: web.Request) -> web.StreamResponse:
        """The stock socket.io-client, where Node servers serve it."""
        response = web.FileResponse(CLIENT)
        response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    async def config(self, _: web.Request) -> web.Response:
        """What the page says of the waves to come is what the hub will do."""
        policy = self._domain.policy
        waves = [{"afterS": wave.after_s, "radiusM": wave.radius_m} for wave in policy.waves]
        return web.json_response(
            {"catcherUrl": self._catcher_url, "waves": waves, "claims": policy.urgent_claims}
        )

    async def token(self, request: web.Request) -> web.Response:
        """POST {userId, nickname?} → {accessToken}. Raises FORBIDDEN, INVALID_PAYLOAD."""
        form = read_json(await request.read(), TokenRequest)
        if form.user_id == SHOP:
            return web.json_response({"accessToken": await self._key_of_shop()})
        if form.nickname is not None:
            await self._make(form.user_id, form.nickname)
        d = self._domain
        role: Role = "admin" if form.user_id == OPERATOR else "user"
        ttl = d.policy.access_ttl_s
        token = sign_access(d.tokens, form.user_id, role, now=d.now(), ttl_s=ttl, jti=str(uuid4()))
        return web.json_response({"accessToken": token})

    async def _key_of_shop(self) -> str:
        """One for all pages of this run: a second key would end the first."""
        async with self._making_key:
            if self._shop_key is None:
                self._shop_key = await add_service(
                    self._domain,
                    SHOP,
                    scopes=("broadcast:write",),
                    room_prefixes=("stream:",),
                    event_types=(),
                )
        return self._shop_key

    async def _make(self, user_id: str, nickname: str) -> None:
        """One of the page's people, unless they are there: with consent to positions and a mailbox
        of the catcher; everybody but a traveller is a verified local."""
        async with self._domain.outbox.change() as change:
            known = await change.conn.fetchval(
                "SELECT location_consent_at IS NOT NULL FROM users WHERE id = $1", user_id
            )
            if known:
                return
            person = UserUpdated(
                user_id=user_id,
                nickname=nickname,
                email=f"{user_id}@localhost",
                is_local_verified=not user_id.startswith("traveller"),
                location_consent_at=self._domain.now(),
            )
            await members.update(self._domain, change, person)


def _for_this_machine(handler: Handler) -> Handler:
    """Raises FORBIDDEN for a peer elsewhere, one that calls us by another name, or a proxy."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        host = request.host
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        peer = ipaddress.ip_address(request.remote or "0.0.0.0")
        if name not in NAMES or not peer.is_loopback or _is_forwarded(request):
            raise forbidden("The console is for this machine only.")
        return await handler(request)

    return guarded


def _is_forwarded(request: web.Request) -> bool:
    """Whether a header says so, in any spelling that a proxy or what is behind it may take."""
    names = [name.lower().replace("_", "-") for name in request.headers]
    return any(name in FORWARDED or name.startswith("x-forwarded") for name in names)


def mount(app: web.Application, domain: Domain, catcher_url: str | None) -> None:
    """Add the console's routes to the API's application: its gate answers what they raise.

    `catcher_url`: the local catcher, if there is one.
    """
    page = Page(domain, catcher_url)
    for method, path, handler in (
        ("GET", "/", page.file),
        ("GET", "/questions/{id:[^/]+}", page.file),  # where the links of pushes and mails lead
        ("GET", "/inbox", page.file),
        ("GET", "/console/config.json", page.config),
        ("POST", "/console/token", page.token),
        ("GET", "/console/{name}", page.file),
        ("GET", "/socket.io/socket.io.min.js", page.client),
    ):
        app.router.add_route(method, path, _for_this_machine(handler))
