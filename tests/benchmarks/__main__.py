"""`make bench`: the floor, stock Node.js, stock python-socketio and the hub, a table a scenario.

    python -m tests.benchmarks [S1 S2 S6 …] [--kinds floor,node,hub] [--reps N]

Says what this machine lacks and measures the rest. README.md beside tells what the figures mean.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hub.plumbing.embedded.account import account
from hub.plumbing.embedded.programs import find_valkey

HERE = Path(__file__).parent
PEERS = HERE.parent / "node" / "node_modules"
KINDS = ["floor", "floor-coalesce", "node", "py-uvloop", "hub"]
SCENARIOS = ["S1", "S2", "S6"]
# Without these nothing can be measured: the load generator is C, and the processes are pinned.
NEEDED = {"make": "make", "gcc or cc": "cc", "taskset (util-linux)": "taskset"}


def main() -> int:
    arguments = _arguments()
    if missing := [name for name, tool in NEEDED.items() if not shutil.which(tool)]:
        print(f"bench: nothing can be measured without {', '.join(missing)}")
        return 1
    subprocess.run(["make", "-s", "-C", HERE, "loadgen", "floor"], check=True)
    _allow_many_files()
    kinds = [kind for kind in arguments.kinds.split(",") if _can_run(kind)]
    with tempfile.TemporaryDirectory() as tools:
        environment = _environment(Path(tools))
        results = [
            _measure(scenario, kinds, arguments.reps, environment)
            for scenario in arguments.scenarios or SCENARIOS
        ]
    return max(results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("scenarios", nargs="*", help=f"of README.md (default {SCENARIOS})")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--reps", type=int, default=1)
    return parser.parse_args()


def _can_run(kind: str) -> bool:
    if kind.startswith("node") and not (shutil.which("node") and PEERS.is_dir()):
        print(f"bench: left out {kind}: no node, or not set up (make test does)")
        return False
    return True


def _allow_many_files() -> None:
    """S5 opens 10,000 connections; the children take over the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if 0 <= hard < 10_200:
        print(f"bench: at most {hard} open files (was {soft}): S5 needs 10,200")


def _environment(tools: Path) -> dict[str, str]:
    """bench.py finds its Python, the stock peers, and a redis-server, in the environment."""
    path = os.environ["PATH"]
    if not shutil.which("redis-server"):
        found = find_valkey(account(), "wheel")
        print(f"bench: no redis-server, so {found.title} takes its place")
        (tools / "redis-server").symlink_to(found.path)
        path = f"{tools}{os.pathsep}{path}"
    own = {"PATH": path, "BENCH_PYTHON": sys.executable, "NODE_PATH": str(PEERS)}
    return {**os.environ, **own}


def _measure(scenario: str, kinds: list[str], reps: int, environment: dict[str, str]) -> int:
    print(f"\n{scenario}, {reps} repetition(s)", flush=True)
    if scenario == "S6":  # the floor answers nothing, and a row of zeros is no figure
        kinds = [kind for kind in kinds if not kind.startswith("floor")]
    cpus = ["--client-cpu", "1" if (os.cpu_count() or 1) > 1 else "0"]
    kinds_file = ["--kinds", str(HERE / "kinds.json")]
    command = [sys.executable, str(HERE / "bench.py"), scenario, *kinds, "--reps", str(reps)]
    return subprocess.run([*command, *cpus, *kinds_file], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
