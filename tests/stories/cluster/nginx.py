"""nginx in the balancer's place, by the configuration that `deploy` holds."""

import asyncio
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from hub.embedded.supervisor import free_port
from tests.stories.cluster.balancer import is_ready

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SHIPPED = Path(__file__).parents[3] / "deploy" / "nginx.conf"
LOOK_EVERY_S = 0.05

MAIN = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/pid;
error_log {folder}/error.log notice;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/hub.conf;
}}
"""


class Nginx:
    """`nodes` are the URLs by name, as they are now; it is told anew when one of them moves."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        self._nodes = nodes
        self._folder = Path(tempfile.mkdtemp(prefix="nginx-"))
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen, and reach a node; the URL for clients."""
        assert PROGRAM is not None
        user = "user root;" if os.geteuid() == 0 else ""  # its workers read the folder
        main = self._folder / "nginx.conf"
        main.write_text(MAIN.format(folder=self._folder, user=user))
        self._write()
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, "-c", str(main), "-e", str(self._folder / "error.log")
        )
        self._following = asyncio.create_task(self._follow())
        url = f"http://127.0.0.1:{self._port}"
        async with asyncio.timeout(10):
            while not await is_ready(url):
                assert self._process.returncode is None, (self._folder / "error.log").read_text()
                await asyncio.sleep(LOOK_EVERY_S)
        return url

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        shutil.rmtree(self._folder)

    def _write(self) -> None:
        """What `deploy` holds, with the ports of this run."""
        servers = [
            f"server 127.0.0.1:{urlsplit(url).port} max_fails=1 fail_timeout=2s;"
            for url in self._nodes.values()
        ]
        text = SHIPPED.read_text()
        text, lists = re.subn(r"(?:server 127\S+ [^;]+;\s+)+", "\n    ".join([*servers, ""]), text)
        text, doors = re.subn(r"listen 127\.0\.0\.1:\d+", f"listen 127.0.0.1:{self._port}", text)
        assert lists == doors == 1
        (self._folder / "hub.conf").write_text(text)

    async def _follow(self) -> None:
        """A node that starts anew has another port."""
        known = dict(self._nodes)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._nodes != known:
                known = dict(self._nodes)
                self._write()
                assert self._process is not None
                self._process.send_signal(signal.SIGHUP)
