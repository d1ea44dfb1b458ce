"""Real server processes that a test may stop, kill and start again."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import cast

from hub.embedded import Prefer
from hub.embedded.account import account
from hub.embedded.programs import find_valkey
from hub.embedded.supervisor import free_port


def server_program() -> str:
    """The wheel's Valkey, or with EMBEDDED_FLAVOUR=system what the machine has (Redis 7)."""
    prefer = cast(Prefer, os.environ.get("EMBEDDED_FLAVOUR", "wheel"))
    return str(find_valkey(account(), prefer).path)


def _die_with_parent() -> None:
    """PR_SET_PDEATHSIG, so that a killed test run leaves no server behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Valkey:
    """One real server process that a test may stop, kill and start again."""

    def __init__(self, *options: str, config: str = ""):
        self.program = server_program()
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="valkey-")
        self.options = options
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def classic_url(self) -> str:
        """For those who only publish and listen as everybody does."""
        return self.url

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, *self._arguments()],
            stdout=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )  # fmt: skip
        self._await_port()

    def _arguments(self) -> list[str]:
        """A server is told by options; a Sentinel by a file, which it writes itself later on."""
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory]
        if not self.config:
            return [*common, "--save", "", *self.options]
        file = Path(self.directory) / "sentinel.conf"
        if not file.exists():
            file.write_text(self.config)
        return [str(file), "--sentinel", *common]

    def _await_port(self) -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe, suppress(OSError):
                probe.settimeout(1)
                probe.connect(("127.0.0.1", self.port))
                probe.sendall(b"PING\r\n")  # who answers has opened its other doors, too
                if probe.recv(1):
                    return
            time.sleep(0.01)
        raise TimeoutError("valkey-server does not listen")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
