"""AWS and CI: what can be said of them without an account."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.tree import DEPLOY, ROOT, program, read_yaml, settings_of

TERRAFORM = program("terraform")
needs_terraform = pytest.mark.skipif(TERRAFORM is None, reason="no terraform on this machine")
FILES = sorted((DEPLOY / "terraform").glob("*.tf"))
TEXT = "\n".join(one.read_text("utf-8") for one in FILES)
OWN = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}


def terraform(*words: str, cwd: Path, said: str = "") -> subprocess.CompletedProcess[str]:
    assert TERRAFORM is not None
    return subprocess.run(
        [TERRAFORM, *words],
        cwd=cwd,
        env=OWN,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
    )


@needs_terraform
def test_the_files_are_of_terraforms_form() -> None:
    """It reads them whole for that; `validate` wants the provider, which is not to be had here."""
    assert terraform("fmt", "-check", "-diff", cwd=DEPLOY / "terraform").returncode == 0


def test_whatever_is_named_is_declared() -> None:
    resources = set(re.findall(r'^resource "(\w+)" "(\w+)"', TEXT, re.MULTILINE))
    data = set(re.findall(r'^data "(\w+)" "(\w+)"', TEXT, re.MULTILINE))
    variables = set(re.findall(r'^variable "(\w+)"', TEXT, re.MULTILINE))
    code = re.sub(r"#.*", "", TEXT)
    named = re.findall(r"(?<![\w.\"])(data\.)?(aws_\w+)\.(\w+)", code)
    for of_data, kind, name in named:
        assert (kind, name) in (data if of_data else resources), f"{kind}.{name}"
    assert set(re.findall(r"\bvar\.(\w+)", code)) == variables
    assert set(re.findall(r"\blocal\.(\w+)", code)) == {"budget_usd", "roles", "ports"}


def test_the_figures_of_the_sources() -> None:
    plain = re.sub(r"[ \t]+", " ", TEXT)
    for words in (
        # S3-04
        'instance_class = "db.t3.medium"', "allocated_storage = 100\n",
        "max_allocated_storage = 1000", "storage_encrypted = true", "multi_az = true",
        "publicly_accessible = false", "backup_retention_period = 30",
        # C42, S3-03
        "cpu = 1024", "memory = 2048", 'network_mode = "awsvpc"',
        # S3-09, C49
        'strategy = each.key == "worker" ? "ROLLING" : "BLUE_GREEN"',
        'bake_time_in_minutes = each.key == "worker" ? null : 5',
        # S3-15, C44
        "min_capacity = 2", "max_capacity = 10", "target_value = 75",
        "scale_out_cooldown = 60", "scale_in_cooldown = 60",
        # S3-25, S3-26, C12
        "limit = 2000", "evaluation_window_sec = 300", '"AWSManagedRulesSQLiRuleSet"',
        # S2-162, C52
        "mvp = 200, growth = 800, scale = 3000", "threshold = 80\n",
        # C17, C48
        'value = "noeviction"', 'type = "lb_cookie"',
    ):  # fmt: skip
        assert words in plain, words
    database = plain.partition('"database" {')[2]
    assert 'comparison_operator = "LessThanThreshold"' in database  # C51
    assert "threshold = 1\n" in database
    idle = re.search(r"idle_timeout = (\d+)", plain)
    assert idle
    assert int(idle[1]) >= 25 + 60  # over PING_INTERVAL + PING_TIMEOUT


@needs_terraform
@pytest.mark.parametrize(("role", "port"), [("hub", 3001), ("api", 3003), ("worker", 9090)])
def test_each_container_would_start(role: str, port: int, tmp_path: Path) -> None:
    """The template filled in by Terraform itself."""
    secrets = dict.fromkeys(("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "LINK_SECRET"), "arn:x")
    values = {
        "role": role, "port": port, "check": role, "image": "x", "version": "1", "group": "g",
        "url": "https://hub.example.org", "origins": "", "secrets": secrets, "region": "r",
    }  # fmt: skip
    path = DEPLOY / "ecs" / "containers.json"
    said = terraform(
        "console", cwd=tmp_path, said=f'templatefile("{path}", {json.dumps(values)})\n'
    )
    assert said.returncode == 0, said.stderr
    (one,) = json.loads(said.stdout.partition("\n")[2].rpartition("EOT")[0])
    assert one["command"] == [role]
    assert one["portMappings"] == [{"containerPort": port, "protocol": "tcp"}]
    environment = {row["name"]: row["value"] for row in one["environment"]}
    given = {f"{row['name']}_FILE": "" for row in one["secrets"]}
    settings = settings_of({**environment, **given}, tmp_path)
    assert settings.environment == "production"
    assert one["stopTimeout"] > settings.process.shutdown_timeout_ms / 1000


def test_the_workflows_by_their_schema() -> None:
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    said = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows",
         *files],
        capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_workflows_run_what_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        text = path.read_text("utf-8")
        for script in re.findall(r"run: (deploy/\S+)", text):
            assert os.access(ROOT / script, os.X_OK), script
        for target in re.findall(r"\bmake ([a-z-]+)$", text, re.MULTILINE):
            assert target in targets, target
        for values in re.findall(r"--values (\S+)", text):
            assert (ROOT / values).exists(), values
        jobs = read_yaml(path)["jobs"]
        for name, job in jobs.items():
            assert "uses" in job or job["timeout-minutes"] <= 45, name  # none hangs for hours
    ci = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert set(ci["image"]["needs"]) == {"check", "test", "stores", "audit"}
