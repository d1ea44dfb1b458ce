"""Scripts, unit and mesh: read by their own linters, and played against a helm that writes down."""

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.tree import DEPLOY, ROOT, program, read_yaml, settings_of

SCRIPTS = sorted(DEPLOY.glob("*/*.sh"))
SHELLCHECK = program("shellcheck")
ANALYZE = program("systemd-analyze")
UNIT = DEPLOY / "systemd" / "dongne@.service"


@pytest.mark.skipif(SHELLCHECK is None, reason="no shellcheck on this machine")
def test_the_scripts_by_shellcheck() -> None:
    assert SHELLCHECK is not None
    said = subprocess.run(
        [SHELLCHECK, "--external-sources", *SCRIPTS], cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.name)
def test_each_script_can_be_run_and_stops_at_the_first_fault(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    if script.name not in ("common.sh", "store.sh"):  # read by the others
        assert script.stat().st_mode & stat.S_IXUSR
        assert "set -euo pipefail" in script.read_text()


class Cluster:
    """`helm` and `kubectl` that write down what they are told; what each answers is a file.

    They stand for a cluster, which this machine has none of: what is tested is the order of a
    script's steps, and what it does when one fails.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = folder / "said"
        for name in ("helm", "kubectl", "smoke"):
            path = folder / name
            path.write_text(
                f'#!/bin/sh\necho "{name} $*" >> {self.said}\n'
                f'[ "{name}" != kubectl ] || cat {folder}/live 2>/dev/null\n'
                f'case "{name} $*" in *front.live=*) echo "$*" |'
                f" sed 's/.*front.live=//; s/ .*//' | tr -d '\\n' > {folder}/live;; esac\n"
                f'case "{name} $*" in $FAILS) exit 1;; esac\n'
            )
            path.chmod(0o755)

    def run(self, script: str, *words: str, live: str, fails: str = "nothing") -> int:
        (self.folder / "live").write_text(live)
        self.said.write_text("")
        env = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "KEEP_S": "0",
            "FAILS": fails,
            "PUBLIC_URL": "https://hub.example.org",
            "SMOKE": "smoke",
        }
        return subprocess.run(
            [DEPLOY / "release" / script, *words], env=env, capture_output=True, timeout=30
        ).returncode

    @property
    def steps(self) -> list[str]:
        """The releases touched, in order; the smoke test."""
        lines = self.said.read_text().splitlines()
        found = []
        for line in lines:
            words = line.split()
            if words[0] == "helm":
                verb = " ".join(word for word in words[1:] if not word.startswith("-"))
                found.append(" ".join(verb.split()[:2]))
            elif words[0] == "smoke":
                found.append("smoke")
        return found

    @property
    def live(self) -> str:
        return (self.folder / "live").read_text()


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.mark.parametrize(("live", "other"), [("blue", "green"), ("green", "blue")])
def test_blue_green_installs_the_colour_that_is_not_live(
    cluster: Cluster, live: str, other: str
) -> None:
    """C50: whichever it is; the old one goes last, and the half after of the migrations with it."""
    assert cluster.run("blue-green.sh", "1.2.3", live=live) == 0
    assert cluster.steps == [
        f"upgrade dongne-{other}",
        "upgrade dongne-front",
        "smoke",
        f"uninstall dongne-{live}",
        f"upgrade dongne-{other}",
    ]
    assert cluster.live == other
    text = cluster.said.read_text()
    assert text.index("migrations.after=false") < text.index("migrations.after=true")
    assert "image.tag=1.2.3" in text


def test_blue_green_of_a_first_installation(cluster: Cluster) -> None:
    assert cluster.run("blue-green.sh", "sha256:" + "0" * 64, live="") == 0
    assert cluster.steps[0] == "upgrade dongne-blue"
    assert "uninstall" not in cluster.said.read_text()
    assert "image.digest=sha256:" in cluster.said.read_text()


def test_a_colour_that_does_not_get_ready_never_goes_live(cluster: Cluster) -> None:
    assert cluster.run("blue-green.sh", "1.2.3", live="blue", fails="*upgrade*dongne-green*") != 0
    assert cluster.steps == ["upgrade dongne-green", "uninstall dongne-green"]
    assert cluster.live == "blue"


def test_what_does_not_do_its_work_is_switched_back(cluster: Cluster) -> None:
    assert cluster.run("blue-green.sh", "1.2.3", live="blue", fails="smoke*") != 0
    assert cluster.live == "blue"
    assert "uninstall" not in cluster.said.read_text()


def test_rollback_in_one_command(cluster: Cluster) -> None:
    assert cluster.run("rollback.sh", live="green") == 0
    assert cluster.live == "blue"
    assert cluster.run("rollback.sh", live="") == 0
    assert cluster.steps == ["rollback dongne"]
    assert cluster.run("rollback.sh", live="green", fails="*status*") != 0
    assert cluster.live == "green"


def test_rolling_takes_back_what_does_not_do_its_work(cluster: Cluster) -> None:
    assert cluster.run("rolling.sh", "1.2.3", live="") == 0
    assert cluster.steps == ["upgrade dongne", "smoke"]
    assert "--timeout 240s" in cluster.said.read_text()  # C49
    assert cluster.run("rolling.sh", "1.2.3", live="", fails="smoke*") != 0
    assert cluster.steps == ["upgrade dongne", "smoke", "rollback dongne"]


def test_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text("utf-8")
    files = [
        line.partition("=")[2].partition("=")[0]
        for line in text.splitlines()
        if line.startswith("Environment=")
    ]
    plain = dict(
        line.split("=", 1)
        for line in (DEPLOY / "systemd" / "env.example").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert settings_of({**plain, **dict.fromkeys(files, "")}, tmp_path).environment == "production"
    assert "MemoryMax=1G" in text  # S5-16
    assert int(text.partition("TimeoutStopSec=")[2].partition("\n")[0]) > 30  # C11


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze on this machine")
def test_the_units_by_systemd(tmp_path: Path) -> None:
    """But for the programs, which are not installed here."""
    assert ANALYZE is not None
    for unit in (*UNIT.parent.glob("*.service"), *UNIT.parent.glob("*.timer")):
        text = re.sub(r"/opt/dongne/(bin/dongne|backup/backup.sh)", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text.replace("User=postgres", "User=root"))
    units = sorted(tmp_path.iterdir())
    assert len(units) == 5
    said = subprocess.run([ANALYZE, "verify", "--man=no", *units], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "Unknown" not in said.stderr
    assert "Failed to parse" not in said.stderr


def test_istio_has_every_route_and_the_figures_of_the_sources() -> None:
    text = (DEPLOY / "istio" / "dongne.yaml").read_text("utf-8")
    found = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}
    routes = {one["name"]: one for one in found["VirtualService", "dongne"]["spec"]["http"]}
    waits = {name: one.get("timeout") for name, one in routes.items()}
    assert waits == {  # S2-053 … S2-055, C47
        "figures": None, "sockets": "0s", "auth": "30s", "notifications": "10s", "rest": "30s",
    }  # fmt: skip
    assert routes["auth"]["retries"]["attempts"] == 3
    assert routes["figures"]["directResponse"] == {"status": 404}
    assert list(routes)[-1] == "rest"
    policy = found["DestinationRule", "dongne-api"]["spec"]["trafficPolicy"]
    assert policy["loadBalancer"] == {"simple": "LEAST_REQUEST"}  # C46
    assert policy["outlierDetection"] == {
        "consecutive5xxErrors": 5,
        "interval": "30s",
        "baseEjectionTime": "30s",
        "maxEjectionPercent": 50,
    }


@pytest.mark.parametrize("role", ["hub", "api", "worker"])
def test_the_paas_files(role: str) -> None:
    one = json.loads((DEPLOY / "paas" / f"railway.{role}.json").read_text("utf-8"))
    assert (ROOT / one["build"]["dockerfilePath"]).exists()
    assert one["deploy"]["startCommand"] == f"dongne {role}"
    assert one["deploy"]["healthcheckPath"] == "/health/ready"


def test_the_adapter_shows_each_metric_that_the_chart_scales_by() -> None:
    rules = read_yaml(DEPLOY / "prometheus" / "adapter-values.yaml")["rules"]
    shown = {one["name"]["as"] for kind in rules.values() for one in kind}
    values = read_yaml(DEPLOY / "helm" / "dongne" / "values.yaml")
    wanted = {
        metric["name"]
        for role in ("hub", "api", "worker")
        for metric in values[role]["autoscaling"]["metrics"]
    }
    assert shown == wanted
