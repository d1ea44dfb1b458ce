"""The house as its plan says: how long its tests take, who may import whom, how large its parts
are, how soon its commands start, what its engine costs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import grimp

from tests.show import Item, Verdict
from tests.show.engine_before import SCENARIOS
from tests.show.engine_before import show as beside_before
from tests.show.fresh_clone import newcomer, timed_make
from tests.sizes import too_large

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("protocol", "hub", "api", "workers")
TEST_S, CI_S, RUNS = 210.0, 480.0, 3
HELP_S, START_S = 0.2, 0.45


def tests_in_time() -> Verdict:
    """`make test` three times in one fresh clone; the first sets up, which is not counted."""
    with newcomer(None) as who:
        clone = who.clone("tested")
        timed_make(who, clone, "setup", ".venv/dev.done", ".venv/peers.done", ".venv/console.done")
        runs = [timed_make(who, clone, "test") for _ in range(RUNS)]
    figures = ", ".join(f"{run.seconds:.0f}s {run.closing}" for run in runs)
    passed = all(run.passed and run.seconds < TEST_S for run in runs)
    return Verdict(passed, f"{figures}; each under {TEST_S:.0f}s")


def ci_in_time() -> Verdict:
    """`.ci/run` in a fresh clone, its set-up counted."""
    with newcomer(None) as who:
        run = timed_make(who, who.clone("ci"), command=(".ci/run",))
    passed = run.passed and run.seconds < CI_S
    return Verdict(passed, f"{run.seconds:.0f}s of {CI_S:.0f}: {run.closing}")


def _contracts() -> list[dict[str, Any]]:
    contracts: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
        "importlinter"
    ]["contracts"]
    return contracts


def _upwards(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """For each container, an import of its highest row by its lowest: importer, imported."""
    for container in contract.get("containers") or [""]:
        rows = [row.split("|")[0].strip(" ()") for row in contract["layers"]]
        prefix = f"{container}." if container else ""
        yield prefix + rows[-1], prefix + rows[0]


def _back(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """For each ancestor, the way back of an import between two of its children."""
    graph = grimp.build_graph(*PACKAGES)
    for ancestor in contract["ancestors"]:
        parent = ancestor.replace(".**", "").replace(".*", "")
        for child in sorted(graph.find_children(parent)):
            found = [
                other
                for other in sorted(graph.find_children(parent) - {child})
                if graph.direct_import_exists(importer=child, imported=other, as_packages=True)
            ]
            if found:
                yield found[0], child
                break


def _forbidden(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield contract["source_modules"][0], contract["forbidden_modules"][0]


def _protected(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """An import of each of them by somebody outside."""
    for module in contract["protected_modules"]:
        yield "api.gate", module


WAYS: Final[dict[str, Callable[[dict[str, Any]], Iterator[tuple[str, str]]]]] = {
    "layers": _upwards,
    "acyclic_siblings": _back,
    "forbidden": _forbidden,
    "protected": _protected,
}


def _file(root: Path, module: str) -> Path:
    path = root / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _verdicts(root: Path) -> dict[str, bool]:
    """Each contract's name, and whether it is kept."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    return {
        line.rsplit(" ", 1)[0]: line.endswith("KEPT")
        for line in lines
        if line.endswith((" KEPT", " BROKEN"))
    }


def contracts_fail_when_broken() -> Verdict:
    """Every contract is kept, and is broken by one import that it forbids."""
    wrong, shown = [], 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copy(ROOT / "pyproject.toml", root)
        for package in PACKAGES:
            ignore = shutil.ignore_patterns("node_modules", "__pycache__")
            shutil.copytree(ROOT / package, root / package, ignore=ignore)
        kept = _verdicts(root)
        wrong += [f"{name} is broken" for name, is_kept in kept.items() if not is_kept]
        for contract in _contracts():
            for importer, imported in WAYS[contract["type"]](contract):
                path = _file(root, importer)
                before = path.read_text()
                path.write_text(f"{before}\nimport {imported}\n")
                if _verdicts(root).get(contract["name"], True):
                    wrong.append(f"{contract['name']}: {importer} may import {imported}")
                path.write_text(before)
                shown += 1
    figures = f"{len(kept)} contracts, {shown} imports that break them"
    return Verdict(not wrong and shown >= len(kept), "; ".join([figures, *wrong]))


def sizes() -> Verdict:
    found = too_large()
    return Verdict(not found, "; ".join(found) or "no function over 60 lines, no file over 400")


def how_to_add() -> Verdict:
    page = ROOT / "deploy/docs/how-to-add.md"
    text = page.read_text() if page.exists() else ""
    asked = ("client event", "route", "kind of notification", "provider")
    missing = [what for what in asked if what not in text.lower()]
    paths = {word.strip("`.,;:()") for word in text.split() if word.startswith("`")}
    gone = [p for p in paths if "/" in p and p.endswith(".py") and not (ROOT / p).exists()]
    said = f"missing: {', '.join(missing)}" if missing else "four pages"
    return Verdict(bool(text) and not missing and not gone, f"{said}{''.join(gone)}")


def imports(seconds: float, statement: str) -> Verdict:
    """The quickest of five processes: what an import costs when nothing else runs."""
    program = (
        f"import time; start = time.perf_counter()\n{statement}\nprint(time.perf_counter() - start)"
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    took = [
        float(subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, env=env))
        for _ in range(5)
    ]
    return Verdict(min(took) < seconds, f"{min(took):.2f}s of {seconds}s ({statement})")


def picture() -> Verdict:
    """What the README draws and names is there."""
    text = (ROOT / "README.md").read_text()
    house = text[text.index("## The house") : text.index("## Running it apart")]
    words = set(house.replace("`", " ").replace(",", " ").split())
    modules = [word for word in words if word.split(".")[0] in PACKAGES and "/" not in word]
    paths = [word for word in words if "/" in word and word.split("/")[0] in PACKAGES]
    gone = [m for m in modules if not _file(ROOT, m.rstrip(".")).exists()]
    gone += [p for p in paths if not (ROOT / p).exists()]
    said = f"{len(modules)} modules and {len(paths)} files named"
    return Verdict(not gone, f"{said}{', gone: ' if gone else ''}{', '.join(sorted(gone))}")


def checks_counted() -> int:
    """How many tests pytest collects."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return sum("::" in line for line in done.stdout.splitlines())


BEFORE: Final = 2870
"""Tests collected before they were made quicker."""


def count() -> Verdict:
    now = checks_counted()
    return Verdict(now >= BEFORE, f"{now} tests, {BEFORE} before")


HUB: Final = (
    "from hub.commands.cli import quicken_imports; quicken_imports();"
    " import hub.commands.start, hub.commands.open_hub"
)
"""What `dongne hub` does before it opens anything (hub.commands.cli.main)."""

ITEMS = [
    Item("1", "make test from a fresh clone", tests_in_time),
    Item("1b", ".ci/run from a fresh clone", ci_in_time),
    Item("1c", "no fewer checks than before", count),
    Item("2", "contracts", contracts_fail_when_broken),
    Item("2b", "sizes", sizes),
    Item("3", "adding a thing is small", how_to_add),
    *(
        Item(f"4.{name}", f"before the redraw and today, {name}", partial(beside_before, name))
        for name in SCENARIOS
    ),
    Item("5", "dongne --help", partial(imports, HELP_S, "import hub.commands.cli")),
    Item("5b", "dongne hub", partial(imports, START_S, HUB)),
    Item("6", "the README's house", picture),
]
