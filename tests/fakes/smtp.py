"""A local SMTP server with faults on order.

In a test: `async with FakeSmtp() as fake`, then `fake.url`. As a process:
`python -m tests.fakes.smtp [--port 0]`, which prints one JSON line `{"url", "control_url"}`.
Steps for a Fault's `at`: `connect`, `ehlo`, `auth`, `mail`, `rcpt`, `data` (the answer to the last
dot), `quit`; `answer` gives `Fault.reply`.
"""

import argparse
import asyncio
import email
import email.policy
import json
import signal
import ssl
from typing import Any, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.fakes.script import Fault, Script

_NO_ANSWER = "421 4.3.2 gone"


class FakeSmtp(Script):
    """A received mail: `{n, mail_from, rcpt_to, raw, headers, subject, text, html}`.

    `tls`: a server certificate; then STARTTLS is offered, or everything is TLS with `implicit_tls`.
    `login`: the only user and password that are taken.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        login: tuple[str, str] | None = None,
        utf8: bool = True,
    ) -> None:
        super().__init__()
        self.connections = 0
        self.dead = asyncio.Event()
        self._port = port
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._login = login
        self._utf8 = utf8
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.BaseTransport] = set()
        self._dying: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        scheme = "smtps" if self._implicit_tls else "smtp"
        return f"{scheme}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Also after a death: on the same port."""
        self.revive()
        self.dead.clear()
        self._server = await asyncio.get_running_loop().create_server(
            self._protocol,
            "127.0.0.1",
            self._port,
            ssl=self._tls if self._implicit_tls else None,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cuts every conversation; a second call does nothing."""
        self.end()
        self.dead.set()
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            for transport in list(self._open):
                _abort(transport)
            await server.wait_closed()

    def _protocol(self) -> asyncio.Protocol:
        self.connections += 1
        fault = self.next_fault("connect")
        return _BadGreeting(self, fault) if fault is not None else self._smtp()

    def _smtp(self) -> asyncio.Protocol:
        fake = self

        class Conversation(SMTP):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                fake._open.add(transport)
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                fake._open.discard(self.transport)
                super().connection_lost(error)

        conversation: asyncio.Protocol = Conversation(
            self,
            hostname="fake.test",
            enable_SMTPUTF8=self._utf8,
            tls_context=None if self._implicit_tls else self._tls,
            auth_require_tls=not self._implicit_tls,
            authenticator=self._authenticate if self._login else None,
            loop=asyncio.get_running_loop(),
        )
        return conversation

    def _authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        fault = self.next_fault("auth")
        if fault is not None:
            return AuthResult(success=False, handled=False, message=fault.reply)
        given = (data.login, data.password) if isinstance(data, LoginPassword) else None
        wanted = tuple(part.encode() for part in self._login or ())
        return AuthResult(success=given == wanted, handled=False)

    async def handle_EHLO(
        self,
        server: Any,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        reply = await self._perhaps(server, "ehlo")
        session.host_name = hostname
        return responses if reply is None else [reply]

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._login is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        reply = await self._perhaps(server, "mail")
        envelope.mail_from = address
        return reply or "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._perhaps(server, "rcpt")
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        mail = read_mail(envelope)
        self.note(mail)
        fault = self.next_fault("data", mail)
        if fault is None:
            await self.record(mail)
            return "250 2.0.0 taken"
        if fault.taken:
            await self.record(mail)
        reply = await self._misbehave(server, fault)
        if reply is None and not fault.taken:
            await self.record(mail)
        return reply or "250 2.0.0 taken"

    async def handle_QUIT(self, server: Any, session: Session, envelope: Envelope) -> str:
        return await self._perhaps(server, "quit") or "221 2.0.0 bye"

    async def _perhaps(self, server: Any, step: str) -> str | None:
        fault = self.next_fault(step)
        return None if fault is None else await self._misbehave(server, fault)

    async def _misbehave(self, server: Any, fault: Fault) -> str | None:
        """The reply of the fault; None after a hold: go on as always."""
        match fault.action:
            case "answer":
                return fault.reply
            case "hold":
                if await self.hold():
                    return None
            case "hang":
                await self.hang()
            case "die":
                self._dying = asyncio.create_task(self.stop())
        _abort(server.transport)
        return _NO_ANSWER


class _BadGreeting(asyncio.Protocol):
    """A server that greets with a refusal, not at all, or hangs up."""

    def __init__(self, fake: FakeSmtp, fault: Fault) -> None:
        self._fake = fake
        self._fault = fault

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._fake._open.add(transport)
        if self._fault.action == "answer":
            writer = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass
            writer.write(f"{self._fault.reply}\r\n".encode())
        elif self._fault.action != "hang":
            _abort(transport)


def read_mail(envelope: Envelope) -> dict[str, Any]:
    """What a mail program would show of it, and the raw text."""
    raw = envelope.content if isinstance(envelope.content, bytes) else b""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    return {
        "mail_from": envelope.mail_from,
        "rcpt_to": list(envelope.rcpt_tos),
        "raw": raw.decode("utf-8", "replace"),
        "headers": {name: str(value) for name, value in mail.items()},
        "subject": str(mail["Subject"]),
        "text": text.get_content() if text else "",
        "html": html.get_content() if html else "",
    }


def _abort(transport: Any) -> None:
    if transport is not None:
        transport.abort()


async def _serve(port: int) -> None:
    async with FakeSmtp(port=port) as fake:
        app = web.Application()
        app.add_routes(fake.routes())
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, fake.dead.set)
        control = f"http://127.0.0.1:{runner.addresses[0][1]}"
        print(json.dumps({"url": fake.url, "control_url": control}), flush=True)
        await fake.dead.wait()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
