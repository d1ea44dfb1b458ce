"""The image, built from deploy/Dockerfile by buildah and run without Docker.

Its base is made of Debian's own packages (debootstrap), which are what python:3.11-slim-bookworm
stands on: no registry is asked. Needs root and both programs.
"""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import psutil

from hub.embedded.supervisor import free_port
from tests.conftest import MEMORY, SECRETS
from tests.deploy.tree import DEPLOY, ROOT, program
from tests.show import Verdict
from tests.show.stores import fresh_stores

BASE, IMAGE, VERSION = "localhost/python:base", "localhost/dongne", "9.9.9"
INSIDE: Final = ("python3", "python3-venv", "ca-certificates")
ALIVE_S: Final = 30.0
ROOM: Final = 6 * 2**30
"""Of memory for files, where the item is quicker than on a disk."""

LENT: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""What a build reads of this machine, where it is there: whom to trust, where packages are."""


@dataclass(frozen=True)
class Builder:
    """buildah with a store of its own. `driver`: overlay where this kernel mounts one there; by
    vfs each layer is a copy of all below it.
    """

    folder: Path
    driver: str = "vfs"

    @classmethod
    def at(cls, folder: Path) -> "Builder":
        made = cls(folder, "overlay")
        works = subprocess.run(made.command("info"), check=False, capture_output=True)
        return made if works.returncode == 0 else cls(folder)

    def command(self, *words: str) -> list[str]:
        store = ["--storage-driver", self.driver, "--root", f"{self.folder}/{self.driver}"]
        return ["buildah", *store, "--runroot", f"{self.folder}/run", *words]

    def run(self, *words: str) -> str:
        """What it says. Raises CalledProcessError."""
        done = subprocess.run(self.command(*words), check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def make_base(self) -> None:
        root = self.folder / "base"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(INSIDE)}", "bookworm", root],
            check=True,
            capture_output=True,
            env={**os.environ, "DPKG_FORCE": "unsafe-io"},  # nothing of it outlives the item
        )
        (root / "usr/bin/python").symlink_to("python3")
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, str(root), "/")
        self.run("commit", "--quiet", container, BASE)

    def build(self) -> None:
        lent = [
            word
            for path in LENT
            if Path(path).exists()
            for word in ("--volume", f"{path}:{path}:ro")
        ]
        self.run(
            *("bud", "--quiet", "--format", "docker", "--isolation", "chroot", "--pull=never"),
            *lent,
            *("--build-arg", f"PYTHON_IMAGE={BASE}", "--build-arg", f"VERSION={VERSION}"),
            *("--ignorefile", str(DEPLOY / "Dockerfile.dockerignore"), "--tag", IMAGE),
            *("--file", str(DEPLOY / "Dockerfile"), str(ROOT)),
        )

    def said(self, container: str, *words: str) -> str:
        """What a command prints there. Raises CalledProcessError."""
        command = self.inside(container, *words)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def inside(self, container: str, *words: str, **environment: str) -> list[str]:
        """A command that runs there, as the image's user."""
        given = [
            word for name, value in environment.items() for word in ("--env", f"{name}={value}")
        ]
        return self.command("run", "--isolation", "chroot", *given, container, "--", *words)


@contextmanager
def builder() -> Iterator[Builder]:
    memory = MEMORY if MEMORY.is_dir() and psutil.disk_usage(str(MEMORY)).free > ROOM else None
    with tempfile.TemporaryDirectory(prefix="image-", dir=memory) as folder:
        yield Builder.at(Path(folder))


async def image() -> Verdict:
    """All three stages are built; hub, api and worker of the image become alive, by its own
    healthcheck, as user 1001."""
    missing = [name for name in ("buildah", "debootstrap") if program(name) is None]
    if missing or os.geteuid() != 0:
        return Verdict(False, f"needs root and {', '.join(missing) or 'nothing else'}")
    with builder() as made:
        begin = monotonic()
        made.make_base()
        based = monotonic()
        made.build()
        built = monotonic()
        container = made.run("from", "--pull=never", IMAGE)
        user = made.said(container, "id", "-u")
        installer = made.said(
            container, "python", "-c", "import importlib.util as u; print(u.find_spec('pip'))"
        )
        async with fresh_stores() as stores:
            lived = [
                await lives(made, container, role, stores.database_url, stores.redis_url)
                for role in ("hub", "api", "worker")
            ]
    figures = (
        f"{made.driver}: base {based - begin:.0f}s, build {built - based:.0f}s; runs as {user};"
        f" alive: {', '.join(f'{role} {seconds:.1f}s' for role, seconds in lived)}"
    )
    return Verdict(user == "1001" and installer == "None", figures)


async def lives(
    made: Builder, container: str, role: str, database_url: str, redis_url: str
) -> tuple[str, float]:
    """Seconds until its healthcheck says so, in the same container. Raises TimeoutError."""
    ports = {name: str(free_port()) for name in ("PORT", "API_PORT", "METRICS_PORT")}
    given = {
        **ports,
        "DATABASE_URL": database_url,
        "DATABASE_SSL": "false",
        "REDIS_URL": redis_url,
        "PUBLIC_BASE_URL": "https://dongne.example",
        **SECRETS,
    }
    with (made.folder / f"{role}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *made.inside(container, "dumb-init", "--", "dongne", role, **given),
            stdout=log,
            stderr=log,
        )
    begin = monotonic()
    try:
        while True:
            check = await asyncio.create_subprocess_exec(
                *made.inside(container, "healthcheck", **ports), stderr=asyncio.subprocess.DEVNULL
            )
            if await check.wait() == 0:
                return role, monotonic() - begin
            if process.returncode is not None or monotonic() - begin > ALIVE_S:
                said = (made.folder / f"{role}.log").read_text()
                raise TimeoutError(f"{role} does not become alive: {said[-300:]}")
    finally:
        own = psutil.Process(process.pid).children(recursive=True)
        for one in own:  # buildah passes no signal on, and the init has a session of its own
            if one.name() == "dumb-init":
                one.terminate()
        await process.wait()
