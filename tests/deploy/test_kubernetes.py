"""The chart and what it renders: by the schemas of Kubernetes, by the settings, by the sources."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.tree import DEPLOY, program, read_yaml, settings_of

CHART = DEPLOY / "helm" / "dongne"
HELM = program("helm")
needs_helm = pytest.mark.skipif(HELM is None, reason="no helm on this machine")
VERSION = "1.31"

Objects = list[dict[str, Any]]

EVERYTHING = {
    "pgbouncer.enabled": "true",
    "pgbouncer.host": "database",
    "podMonitor.enabled": "true",
    "backup.enabled": "true",
    "backup.claim": "backups",
    "backup.bucket": "s3://backups",
    "autoscaling.customMetrics": "true",
    "roles.colour": "green",
    "front.live": "blue",
    "secrets.worker.SMTP_URL": "smtp-url",
    "worker.environment.MAIL_FROM": "hub@example.org",
    "image.digest": "sha256:" + "0" * 64,
}


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *words], capture_output=True, text=True, timeout=60)


def rendered(values: dict[str, str], *files: str) -> str:
    words = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    words += [word for one in files for word in ("--values", str(CHART / one))]
    where = ["--namespace", "dongne", "--kube-version", f"{VERSION}.0"]
    said = helm("template", "dongne", str(CHART), *where, *words)
    assert said.returncode == 0, said.stderr
    return said.stdout


def shipped() -> str:
    return (DEPLOY / "kubernetes" / "dongne.yaml").read_text("utf-8")


def objects(text: str) -> Objects:
    return [one for one in yaml.safe_load_all(text) if one]


def of_kind(all_of_them: Objects, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in all_of_them if one["kind"] == kind}


def check(all_of_them: Objects) -> None:
    """Every object by its schema, and every setting of a pod by the hub's own."""
    for one in all_of_them:
        if not one["apiVersion"].startswith("monitoring.coreos.com"):  # of an operator
            kubernetes_validate.validate(one, VERSION, strict=True)


def check_pods(all_of_them: Objects, folder: Path) -> None:
    for kind in ("Deployment", "Job"):
        for name, one in of_kind(all_of_them, kind).items():
            pod = one["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            if container["name"] == "pgbouncer":
                continue
            environment = {row["name"]: row["value"] for row in container["env"]}
            secrets = next(row for row in pod["volumes"] if row["name"] == "secrets")["secret"]
            mounted = {f"/run/secrets/dongne/{row['path']}" for row in secrets["items"]}
            files = {value for row, value in environment.items() if row.endswith("_FILE")}
            assert files <= mounted, name
            settings_of(environment, folder)


def test_what_is_shipped_is_valid(tmp_path: Path) -> None:
    check(objects(shipped()))
    check_pods(objects(shipped()), tmp_path)


@needs_helm
def test_what_is_shipped_is_what_the_chart_renders() -> None:
    assert rendered({}) == shipped(), "see deploy/kubernetes/README.md"
    linted = helm("lint", str(CHART), "--kube-version", f"{VERSION}.0")
    assert linted.returncode == 0, linted.stdout


@needs_helm
@pytest.mark.parametrize("files", [(), ("values-staging.yaml",), ("values-development.yaml",)])
def test_every_switch_renders_what_is_valid(files: tuple[str, ...], tmp_path: Path) -> None:
    smtp = {"environment.PUBLIC_BASE_URL": "https://hub.example.org"}
    found = objects(rendered({**EVERYTHING, **smtp}, *files))
    check(found)
    check_pods(found, tmp_path)
    assert {name.rpartition("-")[2] for name in of_kind(found, "Deployment")} == {"green"}
    for service in of_kind(found, "Service").values():
        if "pgbouncer" not in service["metadata"]["name"]:
            assert service["spec"]["selector"]["dongne/colour"] == "blue"
    worker = of_kind(found, "Deployment")["dongne-worker-green"]["spec"]["template"]["spec"]
    hub = of_kind(found, "Deployment")["dongne-hub-green"]["spec"]["template"]["spec"]
    assert "smtp-url" in json.dumps(worker["volumes"])
    assert "smtp-url" not in json.dumps(hub["volumes"])
    environment = {row["name"]: row["value"] for row in hub["containers"][0]["env"]}
    assert environment["DATABASE_URL_FILE"].endswith("database-pooled-url")  # C34
    assert environment["DATABASE_DIRECT_URL_FILE"].endswith("database-url")
    assert environment["DB_STATEMENT_CACHE"] == "0"


@needs_helm
def test_backups_are_made_when_the_sources_say() -> None:
    given = {"backup.enabled": "true", "backup.claim": "backups"}
    jobs = of_kind(objects(rendered(given)), "CronJob")
    scripts = (DEPLOY / "backup" / "backup.sh").read_text("utf-8")
    plans = {}
    for one in jobs.values():
        (container,) = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        (kind,) = container["args"]
        assert f"\n{kind}() {{" in scripts
        environment = {row["name"] for row in container["env"]}
        assert environment == {"BACKUP_DIR", "DATABASE_URL", "REDIS_URL"}
        plans[kind] = one["spec"]["schedule"], one["spec"]["timeZone"]
    assert plans == {  # S2-102
        "full": ("0 2 * * *", "Asia/Seoul"),
        "snapshot": ("0 */6 * * *", "Asia/Seoul"),
        "redis": ("30 2 * * *", "Asia/Seoul"),
    }
    assert not of_kind(objects(shipped()), "CronJob")  # a managed database has its own


def scaling() -> dict[str, Any]:
    return {
        name.removeprefix("dongne-"): one["spec"]
        for name, one in of_kind(objects(shipped()), "HorizontalPodAutoscaler").items()
    }


def test_the_figures_of_the_sources() -> None:
    deployments = of_kind(objects(shipped()), "Deployment")
    assert deployments.keys() == {"dongne-hub", "dongne-api", "dongne-worker"}
    resources = {
        name.removeprefix("dongne-"): (
            *one["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"].values(),
            *one["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"].values(),
        )
        for name, one in deployments.items()
    }
    assert resources == {  # C42: processor and memory, asked for and at most
        "hub": ("250m", "256Mi", "500m", "512Mi"),
        "api": ("100m", "128Mi", "200m", "256Mi"),
        "worker": ("200m", "256Mi", "400m", "512Mi"),
    }
    for one in deployments.values():
        assert one["spec"]["progressDeadlineSeconds"] <= 240  # C49
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        probes = {
            kind: (
                row["httpGet"]["path"],
                row["initialDelaySeconds"],
                row["periodSeconds"],
                row["timeoutSeconds"],
                row["failureThreshold"],
            )
            for kind, row in container.items()
            if kind.endswith("Probe")
        }
        assert probes == {  # S1-54 … S1-56, C43
            "livenessProbe": ("/health/live", 10, 10, 5, 3),
            "readinessProbe": ("/health/ready", 5, 5, 3, 3),
            "startupProbe": ("/health/startup", 0, 10, 5, 30),
        }
        wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert wait + 30 < pod["terminationGracePeriodSeconds"] == 45  # C11
        assert pod["securityContext"]["runAsUser"] == 1001
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        (spread,) = pod["topologySpreadConstraints"]  # C45
        assert (spread["maxSkew"], spread["topologyKey"]) == (1, "topology.kubernetes.io/zone")
        assert not container["image"].endswith(":latest")
    ranges = {
        name: (
            one["minReplicas"],
            one["maxReplicas"],
            one["behavior"]["scaleUp"]["stabilizationWindowSeconds"],
            one["behavior"]["scaleDown"]["stabilizationWindowSeconds"],
        )
        for name, one in scaling().items()
    }
    assert ranges == {
        "hub": (3, 30, 120, 600),
        "api": (3, 20, 300, 600),
        "worker": (2, 30, 120, 600),
    }
    assert of_kind(objects(shipped()), "PodDisruptionBudget").keys() == deployments.keys()


def test_the_ingress_leads_to_both_and_waits_as_long_as_each_needs() -> None:
    paths = {}
    for one in of_kind(objects(shipped()), "Ingress").values():
        waits = one["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"]
        for row in one["spec"]["rules"][0]["http"]["paths"]:
            paths[row["path"]] = row["backend"]["service"]["name"], int(waits)
    assert paths == {  # C47
        "/socket.io/": ("dongne-hub", 90),
        "/socket.io-msgpack/": ("dongne-hub", 90),
        "/api/v1/notifications": ("dongne-api", 10),
        "/": ("dongne-api", 30),
    }


def test_migrations_run_before_and_after() -> None:
    jobs = of_kind(objects(shipped()), "Job")
    hooks = {
        name: (one["metadata"]["annotations"]["helm.sh/hook"],
               one["spec"]["template"]["spec"]["containers"][0]["args"][2:])
        for name, one in jobs.items()
    }  # fmt: skip
    assert hooks == {
        "dongne-migrate-before": ("pre-install,pre-upgrade", ["--phase", "before"]),
        "dongne-migrate-after": ("post-install,post-upgrade", ["--phase", "after"]),
    }


def test_metrics_are_asked_from_inside_alone() -> None:
    for name, one in of_kind(objects(shipped()), "NetworkPolicy").items():
        for rule in one["spec"]["ingress"]:
            (source,) = rule["from"]
            namespace = source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            (port,) = rule["ports"]
            assert (namespace == "monitoring") == (port["port"] == 9090), name
    for one in of_kind(objects(shipped()), "Service").values():
        assert [port["targetPort"] for port in one["spec"]["ports"]] == ["http"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.tag", "latest"),
        ("image.digest", "sha256:short"),
        ("environment.APP_ENV", "development"),
        ("environment.CORS_ORIGINS", "https://a.example,*"),
        ("environment.typo", "x"),
        ("front.live", "red"),
        ("hub.autoscaling.min", 0),
        ("secrets.keys", {"DATABASE_URL": "database-url"}),
        ("ingres", {}),
        ("backup.schedules", {"full": "daily"}),
        ("backup.bucket", "/mnt"),
    ],
)
def test_the_schema_of_values_refuses(path: str, value: object) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = read_yaml(CHART / "values.yaml")
    jsonschema.validate(values, schema)
    *parents, last = path.split(".")
    place = values
    for name in parents:
        place = place[name]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema)
