"""The Kubernetes manifests are valid, hang together and run with few rights."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "deploy" / "kubernetes"
MANIFESTS = sorted(path for path in DIRECTORY.glob("*.yaml") if path.name != "kustomization.yaml")
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((DIRECTORY / name).read_text())


WORKLOADS = {
    "agent-daemonset.yaml": load("agent-daemonset.yaml")["spec"]["template"],
    "aggregator-statefulset.yaml": load("aggregator-statefulset.yaml")["spec"]["template"],
    "sidecar-example.yaml": load("sidecar-example.yaml"),
}


@pytest.fixture(params=WORKLOADS.values(), ids=WORKLOADS.keys())
def pod(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The specification of each pod in turn."""
    return request.param["spec"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_each_file_is_one_resource_that_kubernetes_knows(path: Path) -> None:
    [resource] = yaml.safe_load_all(path.read_text())
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(resource, version, strict=True)


def test_an_unknown_key_would_be_noticed() -> None:
    resource = load("agent-daemonset.yaml")
    resource["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, NEWEST, strict=True)


def test_the_kustomization_names_every_manifest_but_the_example() -> None:
    resources = load("kustomization.yaml")["resources"]
    assert {*resources, "sidecar-example.yaml"} == {"../../config", *(path.name for path in MANIFESTS)}


def test_config_maps_are_made_of_the_ready_configurations() -> None:
    generated = yaml.safe_load((ROOT / "config" / "Kustomization").read_text())["configMapGenerator"]
    files = {each["name"]: each["files"] for each in generated}
    assert files == {
        "logflow-agent": ["kubernetes-agent.yaml"],
        "logflow-aggregator": ["kubernetes-aggregator.yaml"],
    }
    for name, template in WORKLOADS.items():
        for volume in template["spec"]["volumes"]:
            if "configMap" in volume:
                [file] = files[volume["configMap"]["name"]]
                assert f"/etc/logflow/{file}" in template["spec"]["containers"][0]["args"], name


def test_environment_variables_are_ones_that_the_configuration_reads(pod: dict[str, Any]) -> None:
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        words = " ".join([*container.get("args", []), *container.get("command", [])])
        for path in (ROOT / "config").glob("*.yaml"):
            if f"/{path.name}" in words:
                text = path.read_text()
                assert all(f"${{{variable['name']}:-" in text for variable in container.get("env", []))


def test_containers_run_with_few_rights(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert "privileged" not in context
        seccomp = context.get("seccompProfile") or pod["securityContext"]["seccompProfile"]
        assert seccomp == {"type": "RuntimeDefault"}


def test_only_the_agent_is_root_and_sees_the_node_read_only() -> None:
    agent = WORKLOADS["agent-daemonset.yaml"]["spec"]
    [container] = agent["containers"]
    assert container["securityContext"]["capabilities"]["add"] == ["DAC_READ_SEARCH"]
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    host_paths = {v["name"]: v["hostPath"]["path"] for v in agent["volumes"] if "hostPath" in v}
    assert host_paths == {"logs": "/var/log", "data": "/var/lib/logflow-agent"}
    assert writable == {"data"}
    for name in ("aggregator-statefulset.yaml", "sidecar-example.yaml"):
        spec = WORKLOADS[name]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert not any("hostPath" in volume for volume in spec["volumes"])


def test_the_agents_of_every_node_are_probed_and_bounded() -> None:
    agent = WORKLOADS["agent-daemonset.yaml"]["spec"]
    assert agent["tolerations"] == [{"operator": "Exists"}]
    assert agent["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert agent["priorityClassName"] == "system-node-critical"
    for name in ("agent-daemonset.yaml", "aggregator-statefulset.yaml"):
        [container] = WORKLOADS[name]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        # An agent that waits for an aggregator does its work; no outage there makes every node NotReady.
        assert ("readinessProbe" in container) == (name == "aggregator-statefulset.yaml")
        assert container["resources"]["limits"]["memory"]
        assert {"name": "admin", "containerPort": 24220} in container["ports"]


def test_pods_get_longer_to_stop_than_logflow_takes(pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] > 25  # shutdown_timeout


def test_agents_find_all_aggregators_by_the_name_of_their_service() -> None:
    aggregators = load("aggregator-statefulset.yaml")
    service = load("aggregator-service.yaml")
    assert aggregators["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == aggregators["spec"]["selector"]["matchLabels"]
    assert service["spec"]["clusterIP"] == "None"
    settings = yaml.safe_load((ROOT / "config" / "kubernetes-agent.yaml").read_text())
    (server,) = settings["outputs"]["central"]["servers"]
    assert server == {"dns": f"${{LOGFLOW_AGGREGATORS:-{service['metadata']['name']}:24224}}"}


def test_images_are_qualified_and_everything_is_for_linux(pod: dict[str, Any]) -> None:
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        assert container["image"].startswith("registry.example.com/logflow")
    (image,) = load("kustomization.yaml")["images"]
    assert image["name"] == "registry.example.com/logflow"
    assert image["newTag"]


def test_the_base_needs_no_store() -> None:
    """What has no destination would fill its buffer and then hold up the files too."""
    aggregator = yaml.safe_load((ROOT / "config" / "kubernetes-aggregator.yaml").read_text())
    assert {output["type"] for output in aggregator["outputs"].values()} == {"file"}
    for name in ("agent-daemonset.yaml", "aggregator-statefulset.yaml"):
        assert WORKLOADS[name]["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    (agent,) = WORKLOADS["agent-daemonset.yaml"]["spec"]["containers"]
    assert agent["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}


def test_names_and_selectors_agree() -> None:
    for name in ("agent-daemonset.yaml", "aggregator-statefulset.yaml"):
        resource = load(name)
        labels = resource["spec"]["template"]["metadata"]["labels"]
        assert resource["spec"]["selector"]["matchLabels"] == labels
    account = load("agent-serviceaccount.yaml")["metadata"]
    [subject] = load("agent-clusterrolebinding.yaml")["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])
    assert (
        load("agent-clusterrolebinding.yaml")["roleRef"]["name"]
        == load("agent-clusterrole.yaml")["metadata"]["name"]
    )
    for name in ("aggregator-poddisruptionbudget.yaml", "aggregator-networkpolicy.yaml"):
        spec = load(name)["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        assert selector == load("aggregator-statefulset.yaml")["spec"]["selector"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_builds_it() -> None:
    command = ["kubectl", "kustomize", str(DIRECTORY)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    resources = list(yaml.safe_load_all(built))
    for resource in resources:
        kubernetes_validate.validate(resource, NEWEST, strict=True)
    config_maps = {r["metadata"]["name"]: r["data"] for r in resources if r["kind"] == "ConfigMap"}
    agent = next(r for r in resources if r["kind"] == "DaemonSet")
    used = agent["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
    assert (
        config_maps[used]["kubernetes-agent.yaml"] == (ROOT / "config" / "kubernetes-agent.yaml").read_text()
    )
