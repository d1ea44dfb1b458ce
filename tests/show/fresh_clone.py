"""What a newcomer waits for: `make run` from a fresh clone, as root's and as an ordinary user's."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.show import Verdict

REPOSITORY = Path(__file__).resolve().parents[2]
COLD, WARM, SECOND, TESTS = 300, 90, 5, 900  # seconds
ORDINARY = 65534
STOP_TIMEOUT = 60.0
# What a newcomer's shell does not have, and what would point the clone at other servers.
NOT_PASSED = ("VIRTUAL_ENV", "XDG_", "PYTHON", "MAKE", "MFLAGS", "DATABASE_", "REDIS_", "PYTEST_")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A user with an empty home; `uid` None is the one who runs this."""

    home: Path
    uid: int | None

    @property
    def name(self) -> str:
        return "self" if self.uid is None else f"uid {self.uid}"

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED)}
        tools = str(REPOSITORY / ".venv" / "bin")
        path = [part for part in kept["PATH"].split(os.pathsep) if part != tools]
        return {**kept, "PATH": os.pathsep.join(path), "HOME": str(self.home)}

    def command(self, *words: str) -> list[str]:
        drop = ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups"]
        return [*words] if self.uid is None else [*drop, *words]

    def clone(self, name: str) -> Path:
        """The committed state, owned by this user."""
        target = self.home.parent / name
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(target)], check=True)
        if self.uid is not None:
            subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", str(target)], check=True)
        return target


@contextmanager
def newcomer(uid: int | None) -> Iterator[Newcomer]:
    scratch = Path(tempfile.mkdtemp(prefix="fresh-"))
    scratch.chmod(0o755)
    home = scratch / "home"
    home.mkdir()
    if uid is not None:
        os.chown(home, uid, uid)
    try:
        yield Newcomer(home, uid)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def seconds_until_ready(who: Newcomer, clone: Path, limit: float) -> float:
    """Runs `make run` on free ports until /health/ready answers 200, then Ctrl-C.

    Raises RuntimeError with the end of its output: not ready in time, ended, or did not stop.
    """
    log = clone.parent / f"{clone.name}.log"
    start, started = time.monotonic(), time.time()
    with log.open("wb") as output:
        process = subprocess.Popen(
            who.command("make", "run", "PORT=0", "API_PORT=0", "METRICS_PORT=0"),
            cwd=clone,
            env=who.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while not await asyncio.to_thread(_is_ready, clone, started):
            if process.poll() is not None or time.monotonic() - start > limit:
                raise RuntimeError(f"not ready as {who.name}: {_tail(log)}")
            await asyncio.sleep(0.02)
        took = time.monotonic() - start
        os.killpg(process.pid, signal.SIGINT)
        await asyncio.to_thread(process.wait, STOP_TIMEOUT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return took


def _is_ready(clone: Path, since: float) -> bool:
    credentials = clone / ".dongne" / "credentials.json"
    try:
        if credentials.stat().st_mtime < since:
            return False  # of an earlier start
        url = json.loads(credentials.read_text())["url"]
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "no output"


async def ready_from_a_fresh_clone() -> Verdict:
    """Cold cache, warm cache, second start; as the running user and, from root, as uid 65534."""
    figures, passed = [], True
    for uid in [None, ORDINARY] if os.geteuid() == 0 else [None]:
        with newcomer(uid) as who:
            clone = who.clone("cold")
            cold = await seconds_until_ready(who, clone, COLD)
            second = await seconds_until_ready(who, clone, COLD)
            warm = await seconds_until_ready(who, who.clone("warm"), COLD)
        passed &= cold < COLD and warm < WARM and second < SECOND
        figures.append(
            f"{who.name}: cold={cold:.0f}s of {COLD} warm={warm:.0f}s of {WARM} "
            f"second={second:.1f}s of {SECOND}"
        )
    return Verdict(passed, "; ".join(figures))


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a command in a clone; `closing` is its last line."""

    passed: bool
    seconds: float
    closing: str


def timed_make(who: Newcomer, clone: Path, *goals: str, command: tuple[str, ...] = ()) -> Run:
    """`make goals`, or another command, as this newcomer in this clone."""
    start = time.monotonic()
    done = subprocess.run(
        who.command(*(command or ("make", *goals))),
        cwd=clone,
        env=who.environment(),
        capture_output=True,
        text=True,
        timeout=2 * TESTS,
    )
    took = time.monotonic() - start
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines() or ["no output"]
    return Run(done.returncode == 0, took, lines[-1].strip("= "))


def tests_pass_in_time() -> Verdict:
    """`make test` in a fresh clone; the figure is pytest's closing line."""
    with newcomer(None) as who:
        run = timed_make(who, who.clone("tested"), "test")
    passed = run.passed and run.seconds < TESTS
    return Verdict(passed, f"{run.seconds:.0f}s of {TESTS} with set-up: {run.closing}")
