"""The image: its build stage replayed here, and what the Dockerfile promises."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest
from aiohttp.test_utils import TestServer

from api.health import Vitals
from hub.commands.ports import health_app
from tests.deploy.tree import DEPLOY, ROOT

DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
HEALTHCHECK = DEPLOY / "image" / "healthcheck.py"


def copied() -> list[str]:
    """What the Dockerfile takes from the tree, whatever the stage."""
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def allowed(path: str) -> bool:
    """By Dockerfile.dockerignore: the last line that matches decides."""
    answer = True
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parents = [str(one) for one in (PurePosixPath(path), *PurePosixPath(path).parents)]
        if any(fnmatch(one, pattern) for one in parents):
            answer = line.startswith("!")
    return answer


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project as the build stage makes it: from what is copied, and nothing else."""
    folder = tmp_path_factory.mktemp("image")
    ignore = shutil.ignore_patterns("__pycache__", "node_modules")
    for source in copied():
        target = folder / "src" / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=ignore)
        else:
            shutil.copy(ROOT / source, target)
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet",
         "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "src"],
        env={**os.environ, "PIP_ONLY_BINARY": ":all:"},
        check=True,
        timeout=60,
    )  # fmt: skip
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_everything_copied_is_there_and_passes_the_ignore_file() -> None:
    for source in copied():
        assert (ROOT / source).exists(), source
        assert allowed(source), source
    for secret in (".env", ".git/config", ".dongne/secrets.json", "tests/tls.py", "deploy/helm"):
        assert not allowed(secret), secret


def test_the_wheel_holds_each_file_of_the_packages_and_nothing_beside(
    wheel: zipfile.ZipFile,
) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "protocol", "hub", "api", "workers", "deploy/migrations"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    # package-lock.json and its sister are for `npm ci` in a checkout, and harmless in a wheel.
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert set(listed) - shipped == set()
    assert shipped - set(listed) <= {"deploy/__init__.py", "deploy/py.typed"}


def test_what_is_installed_finds_its_migrations(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    said = subprocess.run(
        [sys.executable, "-c", "from hub.plumbing.stores import migrations as m;"
         " print(m.__file__); print(len(m.load()))"],
        env={"PYTHONPATH": str(tmp_path), "PATH": os.defpath},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert said[0].startswith(str(tmp_path))
    assert int(said[1]) == len(list((DEPLOY / "migrations").glob("*.up.sql")))


def test_three_stages_no_root_an_init_and_pinned_packages() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert [name for _, name in stages] == ["deps", "build", "runner"]
    runner = DOCKERFILE.partition(" AS runner\n")[2]
    assert "\nUSER 1001:1001\n" in runner  # S1-16
    assert 'ENTRYPOINT ["dumb-init", "--", "dongne"]' in runner  # S1-17
    assert "--interval=30s --timeout=3s --start-period=5s --retries=3" in runner  # S1-18
    assert re.search(r"^EXPOSE 3001\b", runner, re.MULTILINE)  # S1-19
    assert "pip" not in runner.replace("PIP", "")
    for install in re.findall(r"pip install [^&\n]+", DOCKERFILE):
        assert "--require-hashes" in install or "--no-index" in install, install
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = re.findall(r"^[a-z][\w.-]*==\S+(?: ; .+)? \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[a-z]", lock, re.MULTILINE))


async def healthcheck(*words: str, **ports: int) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HEALTHCHECK), *words,
        env={name: str(port) for name, port in ports.items()},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait()


async def test_the_healthcheck_asks_the_roles_own_door() -> None:
    async with TestServer(health_app(Vitals({})), host="127.0.0.1") as alive:
        port, closed = int(alive.port or 0), 1
        assert await healthcheck("hub", PORT=port, API_PORT=closed, METRICS_PORT=closed) == 0
        assert await healthcheck("api", PORT=closed, API_PORT=port, METRICS_PORT=closed) == 0
        assert await healthcheck(PORT=closed, API_PORT=closed, METRICS_PORT=port) == 0
        assert await healthcheck("hub", PORT=closed, API_PORT=port, METRICS_PORT=port) == 1
        assert await healthcheck("worker", PORT=port) == 1
