"""Alerts fire and name their runbook; they and the dashboards ask for metrics that the hub has."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana import build
from hub.commands import processes  # noqa: F401 - registers what the parent of many counts
from hub.engine.session.telemetry import Counters, EngineCollector
from hub.plumbing.telemetry.metrics import REGISTRY, SOCKET_EVENTS
from tests.deploy.tree import DEPLOY, ROOT, program, read_yaml
from tests.hub.plumbing.telemetry.test_logs import lines_of

PROMETHEUS = DEPLOY / "prometheus"
PROMTOOL = program("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")

BESIDE = {
    "up",
    "dongne_backup_success_timestamp_seconds",
    "kube_cronjob_status_last_successful_time",
}
"""What is not the hub's: Prometheus's own, of deploy/backup's files, of Kubernetes' jobs."""

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
LANGUAGE = {
    "and", "or", "unless", "by", "on", "offset", "le", "vector", "sum", "max", "rate", "increase",
    "absent", "time", "histogram_quantile", "min_over_time", "label_replace",
}  # fmt: skip


def alerts() -> list[dict[str, Any]]:
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    groups = [group for one in files for group in read_yaml(one)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def metrics() -> set[str]:
    """Every series that a process of ours shows."""
    SOCKET_EVENTS.count(("/", "ready", "ok"), 0.0)
    engine = EngineCollector(Counters(), lambda: {"/": 0}, lambda: 0)
    families = [*REGISTRY.collect(), *engine.collect()]
    return {
        family.name + suffix
        for family in families
        for suffix in SUFFIXES.get(family.type, ("",))
    }  # fmt: skip


def asked(expression: str) -> set[str]:
    """Names of series in an expression: no label, no function, no text."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"(?<![0-9])[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - LANGUAGE


def queries() -> Iterator[tuple[str, str]]:
    """Where it stands and what is asked, of every rule and panel."""
    for rule in alerts():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def test_each_metric_that_is_asked_for_is_one_of_the_hub() -> None:
    recorded = {rule["record"] for rule in alerts() if "record" in rule}
    known = metrics() | recorded | BESIDE
    assert {(where, name) for where, text in queries() for name in asked(text) - known} == set()


def test_each_alert_names_its_runbook_and_its_severity() -> None:
    for rule in alerts():
        if "alert" not in rule:
            continue
        runbook = ROOT / rule["annotations"]["runbook"]
        assert runbook.exists(), rule["alert"]
        assert f"`{rule['alert']}`" in runbook.read_text("utf-8"), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
    named = {ROOT / rule["annotations"]["runbook"] for rule in alerts() if "alert" in rule}
    assert set((DEPLOY / "docs" / "runbooks").glob("*.md")) == named


def test_each_alert_has_a_test_that_it_fires_and_one_that_it_keeps_still() -> None:
    fires: set[str] = set()
    still: set[str] = set()
    for path in (PROMETHEUS / "tests").glob("*.test.yml"):
        for test in read_yaml(path)["tests"]:
            for one in test["alert_rule_test"]:
                (fires if one["exp_alerts"] else still).add(one["alertname"])
    names = {rule["alert"] for rule in alerts() if "alert" in rule}
    assert fires == still == names


@needs_promtool
def test_the_rules_by_promtool() -> None:
    tests = sorted((PROMETHEUS / "tests").glob("*.test.yml"))
    assert PROMTOOL is not None
    running = [
        subprocess.Popen(
            [PROMTOOL, "test", "rules", one], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for one in tests
    ]
    for process in running:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()


@needs_promtool
def test_the_configuration_and_every_query_of_the_dashboards_by_promtool(tmp_path: Path) -> None:
    """As rules that record, for promtool reads no dashboards."""
    assert PROMTOOL is not None
    text = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
    own = tmp_path / "prometheus.yml"
    own.write_text(text.replace("/etc/prometheus", str(PROMETHEUS)))
    rules = [
        {"record": f"panel{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, (_, query) in enumerate(queries())
    ]
    panels = tmp_path / "panels.json"  # JSON is YAML
    panels.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    for words in (["check", "config", str(own)], ["check", "rules", str(panels)]):
        said = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=60)
        assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("name", build.DASHBOARDS)
def test_the_dashboards_are_those_of_their_tables(name: str) -> None:
    written = (DEPLOY / "grafana" / "dashboards" / f"{name}.json").read_text("utf-8")
    assert written == build.text(name), "run python -m deploy.grafana.build"


def test_the_cloudwatch_dashboard() -> None:
    """S3-12: averages of 300 s of the containers and of the database."""
    text = (DEPLOY / "cloudwatch" / "dashboard.json").read_text("utf-8")
    widgets = [one["properties"] for one in json.loads(text)["widgets"]]
    assert {one["period"] for one in widgets} == {300}
    shown = {(line[0], line[1]) for one in widgets for line in one["metrics"]}
    assert shown >= {
        ("AWS/ECS", "CPUUtilization"),
        ("AWS/ECS", "MemoryUtilization"),
        ("AWS/RDS", "DatabaseConnections"),
        ("AWS/RDS", "CPUUtilization"),
        ("AWS/RDS", "FreeableMemory"),
    }


def test_the_shipper_of_logs_reads_the_lines_as_they_are_written() -> None:
    shipped = read_yaml(DEPLOY / "logs" / "fluent-bit.yaml")
    (parser,) = shipped["parsers"]
    assert [one["parser"] for one in shipped["pipeline"]["filters"]] == [parser["name"]]
    (line,) = lines_of('log.warning("something happened")')
    seconds, _, rest = parser["time_format"].partition(".")
    assert rest == "%LZ"
    told = datetime.fromisoformat(line[parser["time_key"]])
    assert line[parser["time_key"]].startswith(told.strftime(f"{seconds}."))
