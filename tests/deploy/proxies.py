"""nginx and HAProxy in the balancer's place, by the configurations that `deploy` holds."""

import asyncio
import os
import re
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from hub.embedded.supervisor import free_port
from tests.deploy.tree import DEPLOY, program

NGINX = program("nginx")
HAPROXY = program("haproxy")
LOOK_EVERY_S = 0.05
START_S = 10.0


class Proxy(ABC):
    """A proxy of one program; `nodes` and `apis` are the URLs by name, as they are now.

    The files of `deploy` are used as they are, but for the addresses, which are this run's.
    """

    def __init__(self, nodes: Mapping[str, str], apis: Mapping[str, str] | None = None) -> None:
        self.nodes = nodes
        self.apis = apis or {}
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self._log = self.folder / "log"
        self._process: asyncio.subprocess.Process | None = None

    @abstractmethod
    def write(self) -> list[str]:
        """Write the files of this run; the command that runs on them."""

    async def start(self) -> str:
        """Listen; the URL for clients."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.write(), stdout=log, stderr=log
            )
        async with asyncio.timeout(START_S):
            while not await listens(self.port):
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(LOOK_EVERY_S)
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        shutil.rmtree(self.folder)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Nginx(Proxy):
    def write(self) -> list[str]:
        assert NGINX is not None
        self._write_upstreams()
        server = (DEPLOY / "nginx" / "dongne.conf").read_text()
        server = replaced(r"listen 8080", f"listen 127.0.0.1:{self.port}", server)
        (self.folder / "dongne.conf").write_text(server)
        main = (DEPLOY / "nginx" / "nginx.conf").read_text()
        main = main.replace("/tmp/dongne-nginx", f"{self.folder}/own")
        main = replaced(r"worker_processes auto", "worker_processes 1", main)
        user = "user root;\n" if os.geteuid() == 0 else ""  # its workers read the folder
        (self.folder / "nginx.conf").write_text(f"{user}daemon off;\n{main}")
        return [NGINX, "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]

    def _write_upstreams(self) -> None:
        text = (DEPLOY / "nginx" / "upstreams.conf").read_text()
        for name, urls in (
            ("hub_any", self.nodes),
            ("hub_sticky", self.nodes),
            ("api", self.apis),
        ):
            block = rf"(upstream dongne_{name} {{\n    [^;]+;\n)(?:    server \S+( [^;]+);\n)+"
            match = re.search(block, text)
            assert match, name
            text = text.replace(match[0], match[1] + servers(urls.values(), match[2]))
        (self.folder / "upstreams.conf").write_text(text)


class FollowingNginx(Nginx):
    """Told anew when a node moves: one that starts anew has another port."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        super().__init__(nodes)
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> str:
        url = await super().start()
        self._following = asyncio.create_task(self._follow())
        return url

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await super().stop()

    async def _follow(self) -> None:
        known = dict(self.nodes)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.nodes != known:
                known = dict(self.nodes)
                self._write_upstreams()
                self.signal(signal.SIGHUP)


class HAProxy(Proxy):
    def write(self) -> list[str]:
        assert HAPROXY is not None
        text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
        text = replaced(r"maxconn 40000", "maxconn 2000", text)  # descriptors of this machine
        text = replaced(r"bind :8080", f"bind 127.0.0.1:{self.port}", text)
        for kind, urls in (("hub", self.nodes), ("api", self.apis)):
            lines = [
                f"    server {kind}{number} 127.0.0.1:{urlsplit(url).port}\n"
                for number, url in enumerate(urls.values(), 1)
            ]
            text, count = re.subn(rf"(?:    server {kind}\d [^\n]+\n)+", "".join(lines), text)
            assert count == 2, kind
        (self.folder / "haproxy.cfg").write_text(text)
        return [HAPROXY, "-db", "-f", str(self.folder / "haproxy.cfg")]


def servers(urls: Iterable[str], how: str) -> str:
    """Lines of an nginx upstream; one that is down where there is none, for it wants one."""
    lines = [f"    server 127.0.0.1:{urlsplit(url).port}{how};\n" for url in urls]
    return "".join(lines) or "    server 127.0.0.1:9 down;\n"


def replaced(pattern: str, by: str, text: str) -> str:
    """What must be there once, as this run needs it."""
    changed, count = re.subn(pattern, by, text)
    assert count == 1, f"{pattern}: {count} times"
    return changed


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
