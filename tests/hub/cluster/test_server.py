"""The ways to reach Redis: users, databases, unix sockets, TLS, Sentinel addresses."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from hub.cluster.line import Line
from hub.cluster.server import Server
from tests.hub.cluster.conftest import Valkey, free_port

# --- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "sentinels", "master", "options"),
    [
        ("redis-sentinel://a:1,b", (("a", 1), ("b", 26379)), "mymaster", {}),
        (
            "redis-sentinel://u:p%40@a:1,b:2/3?master=main&sentinel_password=s",
            (("a", 1), ("b", 2)),
            "main",
            {"username": "u", "password": "p@", "db": 3},
        ),
        ("redis+sentinel://:p@a:1/2/main", (("a", 1),), "main", {"password": "p", "db": 2}),
        ("redis-sentinel://[::1]:7,a:1", (("::1", 7), ("a", 1)), "mymaster", {}),
    ],
)
def test_sentinel_urls(
    url: str, sentinels: tuple[tuple[str, int], ...], master: str, options: dict[str, object]
) -> None:
    server = Server.of(url)
    assert (server.sentinels, server.master) == (sentinels, master)
    assert server.options == options
    assert server.sentinel_options == ({"password": "s"} if "sentinel_password" in url else {})


def test_sentinels_of_a_setting_go_with_any_url() -> None:
    server = Server.of("redis://:p@ignored:1/4", "a:1, b:2", "main")
    assert server.sentinels == (("a", 1), ("b", 2))
    assert (server.master, server.options["db"]) == ("main", 4)


@pytest.mark.parametrize("url", ["http://a", "redis-sentinel://", "redis-sentinel://:5"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Server.of(url)


def test_no_password_stands_in_a_repr() -> None:
    server = Server.of("redis-sentinel://u:hidden@a:1?sentinel_password=hidden")
    assert "hidden" not in repr(server)


# --- connections ---------------------------------------------------------------------------------


async def answers(url: str) -> bool:
    line = Line(Server.of(url))
    try:
        return bool(await line.call("PING") == b"PONG")
    finally:
        await line.close()


async def test_users_and_databases(valkey: Valkey, line: Line) -> None:
    await line.call("ACL", "SETUSER", "hub", "on", ">p@ss word", "~*", "&*", "+@all")
    host = f"127.0.0.1:{valkey.port}"
    url = f"redis://hub:p%40ss%20word@{host}/5"
    own = Line(Server.of(url), "somebody")
    await own.call("SET", "here", "1")
    assert b"user=hub" in await own.call("CLIENT", "INFO")
    assert b"name=somebody" in await own.call("CLIENT", "INFO")
    await own.close()
    assert await line.call("EXISTS", "here") == 0
    with pytest.raises(RedisError) as refused:
        await answers(f"redis://hub:wrong-secret@{host}")
    assert "wrong-secret" not in str(refused.value)


async def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "valkey.sock"
    server = Valkey("--unixsocket", str(path))
    assert await answers(f"unix://{path}")
    server.close()


async def test_a_server_that_is_not_there_is_an_error_soon() -> None:
    with pytest.raises(RedisConnectionError):
        await answers(f"redis://127.0.0.1:{free_port()}")


async def test_a_server_that_does_not_answer_is_an_error_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        with pytest.raises(RedisError):
            await answers(f"redis://127.0.0.1:{port}")
    listener.close()


@pytest.fixture
async def tls(valkey: Valkey, tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """Valkey behind TLS (the wheel's is built without): port and the certificate."""
    certificate, key = _certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_in, there_out = await asyncio.open_connection("127.0.0.1", valkey.port)
        await asyncio.gather(
            pipe(reader, there_out), pipe(there_in, writer), return_exceptions=True
        )

    listener = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    yield listener.sockets[0].getsockname()[1], certificate
    listener.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "valkey")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "c.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "k.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "c.pem", folder / "k.pem"


async def test_tls_is_verified_unless_told_otherwise(tls: tuple[int, Path]) -> None:
    port, certificate = tls
    assert await answers(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
    assert await answers(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
    assert await answers(
        f"rediss://localhost:{port}?ssl_ca_certs={certificate}&ssl_check_hostname=false"
    )
    with pytest.raises(RedisConnectionError):
        await answers(f"rediss://localhost:{port}?ssl_ca_certs={certificate}")
    with pytest.raises(RedisConnectionError):
        await answers(f"rediss://127.0.0.1:{port}")
