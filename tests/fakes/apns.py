"""A local APNs over real HTTP/2: it checks the provider token, the headers and the payload.

In a test: `async with FakeApns(tmp_path) as fake`. Step for a Fault's `at`: `push`. Of its actions
three are HTTP/2's own: `goaway` (the server takes nothing more, but answers what it took; with
`taken` this push, too), `refuse` (RST_STREAM with REFUSED_STREAM) and `half` (a part of the answer,
then the connection is cut).
"""

import asyncio
import json
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import h2.events
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from tests.fakes import apns_rules
from tests.fakes.apns_rules import Refusal
from tests.fakes.script import Fault, Script

KEY_ID = "ABC123DEFG"
TEAM_ID = "DEF123GHIJ"
TOPIC = "example.dongne"


class FakeApns(Script):
    """A received push: `{n, token, headers, payload, connection}`.

    `unregistered` holds dead device tokens and since when (ms since 1970), `bad` those of another
    environment, `foreign` those of another app, `noisy` those that were sent to too often. `most`:
    how many requests it takes at once after the first valid provider token; before that one.
    `window`: what a client may send before it is given more. `updates_s`: how soon after the last
    new provider token on a connection another new one is too soon.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: ssl.SSLContext | None = None,
        most: int = 100,
        window: int = 65_535,
        updates_s: float = 1200.0,
    ) -> None:
        super().__init__()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.key_file = directory / "apns.p8"
        self.unregistered: dict[str, int] = {}
        self.bad: set[str] = set()
        self.foreign: set[str] = set()
        self.noisy: set[str] = set()
        self.bearers: set[str] = set()
        self.connections = 0
        self.pushes = 0
        self.under_way = 0
        self.busiest = 0
        self.most = most
        self.window = window
        self.updates_s = updates_s
        self.now = time.time
        self.dead = asyncio.Event()
        self.open: set[Conversation] = set()
        self._tls = tls
        self._port = 0
        self._server: asyncio.Server | None = None
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.key_file.write_bytes(pem)

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Also after a death: on the same port, with the same key."""
        self.revive()
        self.dead.clear()
        if self._tls is not None:
            self._tls.set_alpn_protocols(["h2"])
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Conversation(self), "127.0.0.1", self._port, ssl=self._tls, reuse_address=True
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cuts every conversation; a second call does nothing."""
        self.end()
        self.dead.set()
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            for conversation in list(self.open):
                conversation.cut()
            await server.wait_closed()

    def refusal(self, push: "Push", updates: dict[str, float]) -> Refusal | None:
        """`updates`: the provider tokens seen on this connection, and when they came."""
        bearer = push.headers.get("authorization", "")
        wrong = apns_rules.bearer_refusal(
            bearer, self.key.public_key(), (KEY_ID, TEAM_ID), self.now()
        )
        if wrong is not None:
            return wrong
        last = max(updates.values(), default=None)
        if bearer not in updates:
            if last is not None and self.now() - last < self.updates_s:
                return Refusal(429, "TooManyProviderTokenUpdates")
            updates[bearer] = self.now()
        self.bearers.add(bearer)
        return apns_rules.refusal(push.headers, push.body, TOPIC) or self._of_token(push.token)

    def _of_token(self, token: str) -> Refusal | None:
        if token in self.bad:
            return Refusal(400, "BadDeviceToken")
        if token in self.foreign:
            return Refusal(400, "DeviceTokenNotForTopic")
        if token in self.noisy:
            return Refusal(429, "TooManyRequests", headers={"retry-after": "7"})
        if token in self.unregistered:
            return Refusal(410, "Unregistered", self.unregistered[token])
        return None


@dataclass(slots=True)
class Push:
    stream: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    @property
    def token(self) -> str:
        return self.headers.get(":path", "").removeprefix("/3/device/")


class Conversation(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, fake: FakeApns) -> None:
        self._fake = fake
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._transport: asyncio.Transport | None = None
        self._pushes: dict[int, Push] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._updates: dict[str, float] = {}
        self._trusted = False
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._fake.connections += 1
        self.number = self._fake.connections
        self._fake.open.add(self)
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: 1,
                SettingCodes.INITIAL_WINDOW_SIZE: self._fake.window,
            },
        )
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._fake.open.discard(self)
        for task in self._tasks:
            task.cancel()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def go_away(self, last_stream: int, reason: str = "Shutdown") -> None:
        """The answers to what was taken still come: so the frame is not h2's."""
        assert self._transport is not None
        frame = GoAwayFrame(0, last_stream_id=last_stream)
        frame.additional_data = json.dumps({"reason": reason}).encode()
        self._transport.write(frame.serialize())
        self._leaving = True

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self.cut()
            return
        for event in events:
            match event:
                case h2.events.RequestReceived(stream_id=id, headers=headers):
                    self._pushes[id] = Push(id, {str(k): str(v) for k, v in headers})
                case h2.events.DataReceived(stream_id=id, data=part):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, id)
                    self._pushes[id].body += part
                case h2.events.StreamEnded(stream_id=id):
                    task = asyncio.create_task(self._counted(self._pushes[id]))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        self._flush()

    async def _counted(self, push: Push) -> None:
        fake = self._fake
        fake.pushes += 1
        fake.under_way += 1
        fake.busiest = max(fake.busiest, fake.under_way)
        await fake.changed()
        try:
            await self._answer(push)
        finally:
            fake.under_way -= 1

    async def _answer(self, push: Push) -> None:
        message = self._message(push)
        self._fake.note(message)
        fault = self._fake.next_fault("push", message)
        if fault is not None and not await self._misbehave(push, fault):
            return
        refusal = self._fake.refusal(push, self._updates)
        if refusal is not None:
            self._send(push.stream, refusal.status, refusal.body(), refusal.headers)
            return
        if not self._trusted:
            self._trusted = True
            self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self._fake.most})
        if fault is None or not fault.taken:
            await self._take(push)
        self._send(push.stream, 200, b"", {"apns-id": push.headers.get("apns-id", "")})

    async def _take(self, push: Push) -> None:
        await self._fake.record(self._message(push))

    def _message(self, push: Push) -> dict[str, Any]:
        return {
            "token": push.token,
            "headers": {k: v for k, v in push.headers.items() if k != "authorization"},
            "payload": json.loads(push.body),
            "connection": self.number,
        }

    async def _misbehave(self, push: Push, fault: Fault) -> bool:
        """Whether it then goes on as always."""
        if fault.taken:
            await self._take(push)
        match fault.action:
            case "answer":
                text = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
                self._send(push.stream, fault.status, text.encode(), fault.headers)
            case "hold":
                return await self._fake.hold()
            case "hang":
                await self._fake.hang()
            case "goaway":
                self.go_away(push.stream if fault.taken else push.stream - 2)
                return fault.taken
            case "refuse":
                self._h2.reset_stream(push.stream, ErrorCodes.REFUSED_STREAM)
                self._flush()
            case "half":
                self._send(push.stream, fault.status, b'{"reas', fault.headers, last=False)
                assert self._transport is not None
                self._transport.close()
            case "die":
                await self._fake.stop()
            case "close":
                self.cut()
        return False

    def _send(
        self,
        stream: int,
        status: int,
        body: bytes,
        headers: dict[str, str],
        *,
        last: bool = True,
    ) -> None:
        try:
            lines = [(":status", str(status)), *headers.items()]
            self._h2.send_headers(stream, lines, end_stream=last and not body)
            if body:
                self._h2.send_data(stream, body, end_stream=last)
        except ProtocolError:
            return  # the client took it back
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def taken(message: dict[str, Any]) -> tuple[str, str]:
    """Of a received push: whom it was for, and how it was to be delivered."""
    return message["token"], message["headers"]["apns-push-type"]
