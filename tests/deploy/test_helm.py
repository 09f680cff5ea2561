"""The Helm chart: what it renders is valid, hangs together, and configures what logflow takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from logflow.config.loader import load
from tools.check_deploy import CHART, find

ROOT = Path(__file__).parents[2]
HELM, PROMTOOL = find("helm"), find("promtool")
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not installed; make check-deploy builds it")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())

EVERYTHING = {
    "image": {"digest": "sha256:" + "0" * 64},
    "sharedKey": {"generate": True},
    "tls": {"existingSecret": "logflow-tls"},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "agent": {
        "docker": True,
        "seLinuxOptions": {"type": "spc_t"},
        "metadata": {"namespaceLabels": ["team"]},
        "routes": [{"match": "kube.kube-system.**", "outputs": []}],
    },
    "aggregator": {
        "replicas": 3,
        "autoscaling": {"enabled": True},
        "outputs": {
            "sink": {"type": "http", "endpoints": ["http://sink:8080/logs"]},
            "none": {"type": "null"},
        },
        "filters": [{"type": "grep", "exclude": {"level": "^debug$"}}],
    },
}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "agents alone": {"aggregator": {"enabled": False}, "agent": {"metadata": {"enabled": False}}},
    "aggregators alone": {"agent": {"enabled": False}, "sharedKey": {"existingSecret": "mine"}},
}
CUSTOM = {"PodMonitor", "PrometheusRule"}


def render(values: dict[str, Any], tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    assert HELM is not None
    command = [HELM, "template", "logs", str(CHART), "--namespace", "logging", "--values", str(file),
               "--kube-version", "1.29.0"]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def rendered(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, Any]]:
    return render(request.param, tmp_path)


def of_kind(rendered: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in rendered if item["kind"] == kind]


@needs_helm
def test_every_resource_is_one_that_kubernetes_knows(rendered: list[dict[str, Any]]) -> None:
    for item in rendered:
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "logflow"
        if item["kind"] not in CUSTOM:
            for version in ("1.29", kubernetes_validate.latest_version()):
                kubernetes_validate.validate(item, version, strict=True)


@needs_helm
def test_the_configurations_are_such_that_logflow_takes_them(
    rendered: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in of_kind(rendered, "ConfigMap"):
        for name, text in item["data"].items():
            if name.endswith(".yaml"):
                file = tmp_path / name
                # Secrets are mounted there; here they are not.
                file.write_text(text.replace("${file:/etc/logflow/key/shared_key}", "key"))
                assert load([file], {}).warnings == []


@needs_helm
def test_what_is_referred_to_is_there(rendered: list[dict[str, Any]]) -> None:
    maps = {item["metadata"]["name"] for item in of_kind(rendered, "ConfigMap")}
    accounts = {item["metadata"]["name"] for item in of_kind(rendered, "ServiceAccount")}
    for workload in [*of_kind(rendered, "DaemonSet"), *of_kind(rendered, "StatefulSet")]:
        pod = workload["spec"]["template"]["spec"]
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert pod["serviceAccountName"] in accounts
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        claims = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes.keys() | claims
        assert volumes["config"]["configMap"]["name"] in maps


@needs_helm
def test_pods_run_with_few_rights(rendered: list[dict[str, Any]]) -> None:
    for workload in [*of_kind(rendered, "DaemonSet"), *of_kind(rendered, "StatefulSet")]:
        pod = workload["spec"]["template"]["spec"]
        security = pod["containers"][0]["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert pod["nodeSelector"]["kubernetes.io/os"] == "linux"
        assert pod["terminationGracePeriodSeconds"] > 25
    assert all(item["spec"]["policyTypes"] == ["Ingress"] for item in of_kind(rendered, "NetworkPolicy"))
    for role in of_kind(rendered, "ClusterRole"):
        assert all(set(rule["verbs"]) <= {"list", "watch"} for rule in role["rules"])
    workloads = len(of_kind(rendered, "DaemonSet")) + len(of_kind(rendered, "StatefulSet"))
    assert len(of_kind(rendered, "NetworkPolicy")) == workloads


@needs_helm
def test_the_number_of_aggregators_is_fixed_or_an_autoscaler_s(tmp_path: Path) -> None:
    (fixed,) = of_kind(render({}, tmp_path), "StatefulSet")
    assert fixed["spec"]["replicas"] == 2
    rendered = render(EVERYTHING, tmp_path)
    (scaled,), (scaler,) = of_kind(rendered, "StatefulSet"), of_kind(rendered, "HorizontalPodAutoscaler")
    assert "replicas" not in scaled["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == scaled["metadata"]["name"]
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 6)
    assert scaler["spec"]["behavior"]["scaleDown"] == {"selectPolicy": "Disabled"}


@needs_helm
def test_agents_know_every_aggregator_and_the_node(tmp_path: Path) -> None:
    rendered = render(EVERYTHING, tmp_path)
    (text,) = (
        item["data"]["agent.yaml"] for item in of_kind(rendered, "ConfigMap") if "agent.yaml" in item["data"]
    )
    servers = yaml.safe_load(text)["outputs"]["central"]["servers"]
    assert servers == [{"dns": "logs-aggregator.logging.svc:24224"}]
    service = next(s for s in of_kind(rendered, "Service") if s["metadata"]["name"] == "logs-aggregator")
    assert service["spec"]["clusterIP"] == "None"
    (agent,) = of_kind(rendered, "DaemonSet")
    container = agent["spec"]["template"]["spec"]["containers"][0]
    assert container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    assert container["image"].endswith("@sha256:" + "0" * 64)
    # An agent that waits for an aggregator does its work: no outage there makes every node NotReady.
    assert "readinessProbe" not in container


@needs_helm
@pytest.mark.parametrize(
    "wrong",
    [
        {"agent": {"tolerationz": []}},
        {"aggregator": {"replicas": 0}},
        {"image": {"digest": "latest"}},
        {"agent": {"multiline": ["cobol"]}},
        {"aggregator": {"storage": {"data": {"size": "5 apples"}}}},
    ],
)
def test_mistaken_values_are_refused_by_helm(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?i)schema"):
        render(wrong, tmp_path)


def test_the_values_are_those_of_their_schema() -> None:
    jsonschema.validate(VALUES, SCHEMA)

    def keys(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        for name, part in schema.get("properties", {}).items():
            if path or name != "global":
                assert name in values, f"{path}{name} has no default"
            if isinstance(values.get(name), dict):
                keys(part, values[name], f"{path}{name}.")

    keys(SCHEMA, VALUES, "")


METRICS = (ROOT / "logflow" / "admin" / "prometheus.py").read_text()
COUNTERS = (ROOT / "logflow" / "filters" / "kubernetes.py").read_text()


@pytest.mark.parametrize("name", ["rules.yaml", "dashboard.json"])
def test_alerts_and_the_dashboard_ask_for_metrics_that_there_are(name: str) -> None:
    text = (CHART / "files" / name).read_text()
    asked = set(re.findall(r"\blogflow_([a-z_]+)", text))
    assert asked
    for metric in asked:
        plain = metric.removesuffix("_total")
        assert f'"logflow_{plain}"' in METRICS or f'"{plain}"' in METRICS + COUNTERS, metric


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    assert PROMTOOL is not None
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        done = subprocess.run(
            [PROMTOOL, *command], check=False, cwd=CHART / "files", capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
