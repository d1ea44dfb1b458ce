"""A local push service and the browsers behind it: it checks as RFC 8030 and RFC 8292 say, and a
browser decrypts what came with another hand than the one that encrypted it.

In a test: `async with FakePushService() as fake`, then `fake.subscribe(vapid_public_key)`. Step for
a Fault's `at`: `push`.
"""

import json
import os
import re
import secrets
import ssl
import time
from dataclasses import dataclass
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.web_push import from_base64url, to_base64url
from tests.fakes.http import HttpFake

_MAX_TTL_S = 2_419_200


@dataclass(frozen=True, slots=True)
class Browser:
    """One subscription, from the browser's side."""

    key: ec.EllipticCurvePrivateKey
    auth: bytes
    vapid_key: str

    def point(self) -> bytes:
        public = self.key.public_key()
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def read(self, body: bytes) -> bytes:
        """What a service worker gets (RFC 8188 §2, RFC 8291 §3.4). Raises ValueError or
        cryptography's InvalidTag."""
        salt, length, id_length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        theirs, record = body[21 : 21 + id_length], body[21 + id_length :]
        if len(record) > length:
            raise ValueError("more than one record (RFC 8291 §4)")
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
        shared = self.key.exchange(ec.ECDH(), point)
        info = b"WebPush: info\x00" + self.point() + theirs + b"\x01"
        outer = _hmac(salt, _hmac(_hmac(self.auth, shared), info))
        key = _hmac(outer, b"Content-Encoding: aes128gcm\x00\x01")[:16]
        nonce = _hmac(outer, b"Content-Encoding: nonce\x00\x01")[:12]
        opened = Cipher(algorithms.AES(key), modes.GCM(nonce, record[-16:])).decryptor()
        padded = opened.update(record[:-16]) + opened.finalize()
        plain = padded.rstrip(b"\x00")
        if plain[-1:] != b"\x02":
            raise ValueError("not the last record")
        return plain[:-1]


class FakePushService(HttpFake):
    """A received message: `{n, id, headers, payload, size}`, the payload as the browser read it.

    `gone` holds subscriptions that ended; of one that was never there it answers 404.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        super().__init__(tls=tls, host=host)
        self.browsers: dict[str, Browser] = {}
        self.gone: set[str] = set()

    def steps(self) -> list[web.RouteDef]:
        return [web.post("/push/{id}", self._push)]

    def subscribe(self, vapid_key: str) -> tuple[str, str]:
        """Its id, and what `JSON.stringify(subscription)` gives the app."""
        id = secrets.token_urlsafe(16)
        browser = Browser(ec.generate_private_key(ec.SECP256R1()), os.urandom(16), vapid_key)
        self.browsers[id] = browser
        keys = {"p256dh": to_base64url(browser.point()), "auth": to_base64url(browser.auth)}
        endpoint = f"{self.url}/push/{id}"
        whole = {"endpoint": endpoint, "expirationTime": None, "keys": keys}
        return id, json.dumps(whole)

    async def _push(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        id, body = request.match_info["id"], await request.read()
        browser = self.browsers.get(id)
        if browser is None:
            return web.Response(status=404)
        status = self._refusal(request, browser, body)
        if status is not None:
            return web.Response(status=status)
        message = {
            "id": id,
            "headers": {k: v for k, v in request.headers.items() if k != "Authorization"},
            "payload": json.loads(browser.read(body)),
            "size": len(body),
        }
        self.note(message)
        if id in self.gone:
            fault = self.next_fault("push", message)
            answer = None if fault is None else await self.act(request, fault)
            return answer or web.Response(status=410)
        answer = await self.misbehaves(request, "push", message)
        location = f"{self.url}/message/{secrets.token_urlsafe(8)}"
        return answer or web.Response(status=201, headers={"Location": location})

    def _refusal(self, request: web.Request, browser: Browser, body: bytes) -> int | None:
        headers = request.headers
        if len(body) > 4096:
            return 413
        if not re.fullmatch(r"\d+", headers.get("TTL", "")) or int(headers["TTL"]) > _MAX_TTL_S:
            return 400
        if headers.get("Urgency", "normal") not in {"very-low", "low", "normal", "high"}:
            return 400
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers.get("Topic", "x")):
            return 400
        if headers.get("Content-Encoding") != "aes128gcm":
            return 415
        return self._of_vapid(headers.get("Authorization", ""), browser)

    def _of_vapid(self, header: str, browser: Browser) -> int | None:
        found = re.fullmatch(r"vapid t=([\w.-]+), ?k=([\w-]+)", header)
        if found is None:
            return 401
        if found[2] != browser.vapid_key:
            return 403
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), from_base64url(found[2]))
        try:
            claims: dict[str, Any] = jwt.decode(
                found[1],
                key,
                algorithms=["ES256"],
                audience=self.url,
                options={"require": ["aud", "exp", "sub"]},
            )
        except jwt.PyJWTError:
            return 403
        return 403 if claims["exp"] > time.time() + 86_400 else None


def _hmac(key: bytes, data: bytes) -> bytes:
    """HKDF is HMAC twice (RFC 5869 §2): done by hand here, so that nobody checks himself."""
    made = HMAC(key, SHA256())
    made.update(data)
    return made.finalize()
