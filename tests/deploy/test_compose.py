"""Compose: by its schema, by the settings, and by what the sources ask of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.tree import DEPLOY, program, read_yaml, settings_of

COMPOSE: dict[str, Any] = read_yaml(DEPLOY / "compose.yaml")
DEVELOPMENT: dict[str, Any] = read_yaml(DEPLOY / "compose.dev.yaml")
ROLES = {"hub1": "hub", "hub2": "hub", "api": "api", "worker": "worker", "migrate": "migrate"}


def plain(environment: dict[str, str]) -> dict[str, str]:
    """With the defaults of `${NAME:-default}`."""
    return {
        name: value.partition(":-")[2].rstrip("}") if value.startswith("${") else value
        for name, value in environment.items()
    }


def has_docker_compose() -> bool:
    docker = program("docker")
    return (
        docker is not None
        and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    )


def test_by_the_schema_of_compose() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         DEPLOY / "compose.yaml", DEPLOY / "compose.dev.yaml"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.skipif(not has_docker_compose(), reason="no docker compose on this machine")
def test_by_docker_itself() -> None:
    files = ["-f", str(DEPLOY / "compose.yaml"), "-f", str(DEPLOY / "compose.dev.yaml")]
    subprocess.run(["docker", "compose", *files, "config", "--quiet"], check=True)


@pytest.mark.parametrize("service", ROLES)
def test_each_role_would_start_with_its_environment(service: str, tmp_path: Path) -> None:
    one = COMPOSE["services"][service]
    assert one["command"][0] == ROLES[service]
    settings = settings_of(plain(one["environment"]), tmp_path)
    assert settings.environment == "staging"
    assert settings.web.trust_proxy == 1
    developed = {**plain(one["environment"]), **DEVELOPMENT["services"][service]["environment"]}
    assert settings_of(developed, tmp_path).environment == "development"
    assert settings_of(developed, tmp_path).web.host == "0.0.0.0"


def test_what_the_sources_ask() -> None:
    services = COMPOSE["services"]
    assert {"nginx", "mail", "prometheus", "grafana", "postgres", "redis"} <= services.keys()
    assert "--appendonly yes" in services["redis"]["command"][0]  # S5-54
    assert "--maxmemory-policy noeviction" in services["redis"]["command"][0]  # C17
    for name in ("postgres", "redis"):  # S1-22, S1-23
        check = services[name]["healthcheck"]
        assert (check["interval"], check["timeout"], check["retries"]) == ("10s", "5s", 5)
    for name, one in services.items():
        one_shot = name in ("secrets", "migrate")
        assert one["restart"] == ("no" if one_shot else "unless-stopped"), name  # C54
        assert not one["image"].endswith((":latest", ":latest}")), name
    for name in ("hub1", "hub2", "api", "worker"):
        needs = services[name]["depends_on"]
        assert needs["postgres"] == needs["redis"] == {"condition": "service_healthy"}
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        grace = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert grace > 30  # C11: over SHUTDOWN_TIMEOUT
    published = [port for one in services.values() for port in one.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_files_mounted_are_there_and_the_source_is_for_development() -> None:
    for name, one in COMPOSE["services"].items():
        for volume in one.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
    for name in ("hub1", "hub2", "api", "worker"):
        one = DEVELOPMENT["services"][name]
        assert one["volumes"] == ["..:/src:ro"]  # S1-20
        assert one["environment"]["PYTHONPATH"] == "/src"
        assert {"action": "restart", "path": "../hub"} in one["develop"]["watch"]


def test_secrets_are_made_once_and_for_the_hub_alone(tmp_path: Path) -> None:
    """The one-shot's own script, in a folder of this machine."""
    (script,) = COMPOSE["services"]["secrets"]["command"]
    script = script.replace("$$", "$").replace("/run/secrets", str(tmp_path / "secrets"))
    if os.geteuid() != 0:
        script = "\n".join(line for line in script.splitlines() if not line.startswith("chown"))
    (tmp_path / "secrets").mkdir()
    path = os.environ["PATH"]

    def run() -> dict[str, str]:
        subprocess.run(["sh", "-ec", script], env={"PATH": path}, check=True, timeout=60)
        return {one.name: one.read_text() for one in (tmp_path / "secrets").iterdir()}

    first = run()
    assert first.keys() == {"jwt", "link", "database", "redis"}
    assert len(set(first.values())) == 4
    for name, text in first.items():
        assert len(text) >= 32, name
        assert text.isalnum(), name
        one = (tmp_path / "secrets" / name).stat()
        assert one.st_mode & 0o777 == 0o600
        assert one.st_uid == (1001 if os.geteuid() == 0 else os.geteuid())
    assert run() == first
