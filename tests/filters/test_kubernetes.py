"""The filter ``kubernetes``."""

from __future__ import annotations

import logging
from dataclasses import replace

import msgspec
import pytest
import yaml

from logflow.batch import Batch, Span
from logflow.errors import ComponentError
from logflow.filters.kubernetes import KubernetesFilter
from logflow.kubernetes.pods import Object
from logflow.telemetry.metrics import Metrics
from logflow.testing import make_context
from logflow.testing.forwarding import make_certificates
from tests.kubernetes.apiserver import api_server, pod

SPAN = Span("file", 0, 100)
CONTAINER = {"namespace": "shop", "pod": "web", "uid": "uid-web", "container": "app", "restart": "0"}


@pytest.fixture
def make(tmp_path, engine):
    def make(*pods, **options):
        make.metrics = Metrics()
        context = make_context(tmp_path, kind="filter", metrics=make.metrics, engine=engine.name)
        step = KubernetesFilter(KubernetesFilter.Config(**options), context)
        for item in pods:
            step._cluster.pods.put(msgspec.convert(item, Object))
        return step

    return make


def batch(*records, container=CONTAINER):
    made = Batch.from_events("kube.shop.web.app", [(7, record) for record in records], SPAN)
    return replace(made, attributes={"container": container} if container else {})


def records(result):
    assert result.count == len(list(result.events()))
    return [record for _, record in result.events()]


def missing(make):
    return {cell.name: cell.value for cell in make.metrics.counters()}["events_without_metadata"]


def test_records_get_what_is_known_of_their_container(make):
    step = make(pod("web"), labels=["app"])
    first, second = records(step.apply(batch({"message": "a"}, {"kubernetes": "its own"})))
    assert list(first) == ["message", "kubernetes"]
    assert first["kubernetes"]["labels"] == {"app": "web"}
    assert first["kubernetes"]["owner"] == {"kind": "Deployment", "name": "web"}
    assert second == {"kubernetes": "its own"}
    assert missing(make) == 0


def test_an_unknown_pod_is_marked_and_counted_until_the_api_tells_of_it(make):
    step = make()
    assert records(step.apply(batch({"n": 1}, {"n": 2})))[1]["kubernetes"]["metadata_missing"] is True
    assert missing(make) == 2
    step._cluster.pods.put(msgspec.convert(pod("web"), Object))
    assert "metadata_missing" not in records(step.apply(batch({"n": 3})))[0]["kubernetes"]
    step._cluster.pods.put(msgspec.convert(pod("web", labels={"app": "changed"}), Object))
    assert records(step.apply(batch({})))[0]["kubernetes"]["labels"] == {"app": "changed"}


def test_events_of_anything_else_than_a_container_pass_as_they_are(make):
    step = make(pod("web"))
    plain = batch({"message": "a"}, {"kubernetes": {"labels": 1}}, container=None)
    assert step.apply(plain).entries == plain.entries
    assert missing(make) == 0


def test_on_an_aggregator_the_fields_of_the_records_tell(make):
    step = make(pod("web"), pod("db", labels={"app": "db"}, annotations={"logflow.io/exclude": "true"}))
    of = {"pod_id": "uid-web", "namespace_name": "shop", "pod_name": "web", "container_name": "app"}
    mixed = batch(
        {"n": 1, "kubernetes": {**of, "host": "as it was"}},
        {"n": 2},
        {"n": 3, "kubernetes": {"namespace_name": "shop", "pod_name": "db"}},
        {"n": 4, "kubernetes": of},
        {"n": 5, "kubernetes": {"namespace_name": "shop", "pod_name": "unknown"}},
        container=None,
    )
    one, two, four, five = records(step.apply(mixed))
    assert one["kubernetes"]["host"] == "as it was"
    assert one["kubernetes"]["labels"]["app"] == "web"
    assert two == {"n": 2}
    assert four["kubernetes"]["container_image"] == "docker.io/registry/web:2"
    assert five["kubernetes"] == {
        "namespace_name": "shop", "pod_name": "unknown", "metadata_missing": True,
    }  # fmt: skip
    assert missing(make) == 1


def test_braces_in_metadata_are_no_placeholders(make):
    step = make(pod("web", "uid-web") | {"spec": {"nodeName": "{tag}"}})
    of = {"pod_id": "uid-web", "namespace_name": "shop", "pod_name": "web"}
    assert records(step.apply(batch({"kubernetes": of}, container=None)))[0]["kubernetes"]["host"] == "{tag}"


def test_a_pod_can_have_its_events_left_out(make):
    excluding = pod("web", annotations={"fluentbit.io/exclude": "true"})
    assert make(excluding).apply(batch({"n": 1})) is None
    assert make(excluding, obey_annotations=False).apply(batch({"n": 1})).count == 1
    other = pod("web", annotations={"logflow.io/exclude-sidecar": "true"})
    assert make(other).apply(batch({"n": 1})).count == 1
    assert make(other).apply(batch({"n": 1}, container={**CONTAINER, "container": "sidecar"})) is None


def test_a_pod_can_name_the_parser_of_its_messages(make):
    step = make(pod("web", annotations={"logflow.io/parser": "logfmt"}))
    (record,) = records(step.apply(batch({"message": "level=info n=1", "stream": "stdout"})))
    assert record.pop("kubernetes")
    assert record == {"stream": "stdout", "level": "info", "n": "1"}


@pytest.mark.parametrize("name", ["no such\n", "csv", "x" * 250_000])
def test_a_parser_that_does_not_exist_is_said_once_for_a_pod(make, caplog, name):
    step = make(pod("web", annotations={"logflow.io/parser": name}))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert records(step.apply(batch({"message": "a=1"})))[0]["message"] == "a=1"
            step._cluster.pods.put(
                msgspec.convert(pod("web", annotations={"logflow.io/parser": name}), Object)
            )
    (message,) = caplog.messages
    assert "shop/web" in message
    assert "\n" not in message
    assert len(message) < 300


def test_a_huge_label_is_cut_and_said(make, caplog):
    step = make(pod("web", labels={"app": "x" * 250_000}))
    with caplog.at_level(logging.WARNING):
        assert len(step.apply(batch({})).entries) < 10_000
    assert "shop/web" in caplog.text


async def test_the_start_waits_for_the_first_answer_and_then_goes_on(tmp_path, make):
    certificates, token = make_certificates(tmp_path), tmp_path / "token"
    token.write_text("first")
    async with api_server(certificates, token) as api:
        await check_start(api, certificates, token, tmp_path, make)


async def check_start(api, certificates, token, tmp_path, make):
    config = tmp_path / "kubeconfig"
    config.write_text(
        yaml.safe_dump({
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {
                "server": api.url, "certificate-authority": str(certificates.ca)}}],
            "users": [{"name": "x", "user": {"tokenFile": str(token)}}],
        })
    )  # fmt: skip
    await api.change("ADDED", pod("web"))
    namespace = {"metadata": {"name": "shop", "uid": "n", "labels": {"team": "red"}}}
    await api.change("ADDED", namespace, "/api/v1/namespaces")
    step = make(kubeconfig=config, namespace_labels=["team"], node="node-1")
    try:
        await step.open()
        fields = records(step.apply(batch({})))[0]["kubernetes"]
        assert fields["namespace_labels"] == {"team": "red"}
        assert fields["host"] == "node-1"
        assert any("spec.nodeName%3Dnode-1" in url or "spec.nodeName=node-1" in url for url in api.requests)
    finally:
        await step.context.services.close()
    token.write_text("refused from now on")
    config.write_text(config.read_text().replace(str(token), str(tmp_path / "missing")))
    late = make(kubeconfig=config, wait=0.05)
    try:
        await late.open()
        assert records(late.apply(batch({})))[0]["kubernetes"]["metadata_missing"] is True
    finally:
        await late.context.services.close()


async def test_outside_of_a_cluster_paths_must_do(make, caplog, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    step = make()
    with caplog.at_level(logging.WARNING):
        await step.open()
    assert "adds only what the paths of log files say" in caplog.text
    assert records(step.apply(batch({})))[0]["kubernetes"]["pod_id"] == "uid-web"


async def test_a_kubeconfig_that_cannot_be_used_ends_the_start(make, tmp_path):
    with pytest.raises(ComponentError, match="cannot read"):
        await make(kubeconfig=tmp_path / "missing").open()
