"""What is told of a container, and how pods are found."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.kubernetes.metadata import MOST_CHARACTERS, MOST_IN_ALL, Choice, describe, instruction
from logflow.kubernetes.names import read_names
from logflow.kubernetes.pods import KEPT_S, MOST_GONE, Object, Pods
from tests.kubernetes.apiserver import pod

NAMES = {"namespace": "shop", "pod": "web-5d4f-x", "uid": "uid-1", "container": "app", "restart": "0"}


def made(**metadata):
    return msgspec.convert(pod("web-5d4f-x", "uid-1", **metadata), Object)


def test_the_fields_have_the_names_that_users_know():
    fields, cut = describe(NAMES, made(), None, Choice(["app*"]))
    assert not cut
    assert fields == {
        "namespace_name": "shop",
        "pod_name": "web-5d4f-x",
        "pod_id": "uid-1",
        "container_name": "app",
        "restart_count": 0,
        "docker_id": "a" * 64,
        "container_image": "docker.io/registry/web:2",
        "host": "node-1",
        "owner": {"kind": "Deployment", "name": "web"},
        "labels": {"app": "web", "app.kubernetes.io/name": "web"},
    }


def test_without_the_api_there_is_what_the_path_says():
    fields, _ = describe({**NAMES, "container_id": "b" * 12}, None, None, Choice())
    assert fields == {
        "namespace_name": "shop", "pod_name": "web-5d4f-x", "pod_id": "uid-1", "container_name": "app",
        "restart_count": 0, "docker_id": "b" * 12, "metadata_missing": True,
    }  # fmt: skip


def test_the_id_of_another_restart_is_not_told():
    assert "docker_id" not in describe({**NAMES, "restart": "1"}, made(), None, Choice())[0]


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("ReplicaSet", "web-5d4f", ("Deployment", "web")),
        ("ReplicaSet", "by-hand", ("ReplicaSet", "by-hand")),
        ("Job", "backup-28812345", ("CronJob", "backup")),
        ("Job", "migrate", ("Job", "migrate")),
        ("DaemonSet", "agent", ("DaemonSet", "agent")),
        ("Node", "node-1", ("Node", "node-1")),
    ],
)
def test_the_owner_is_what_the_user_made(kind, name, owner):
    found = made(ownerReferences=[{"kind": kind, "name": name, "controller": True}]).owner()
    assert (found["kind"], found["name"]) == owner


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=30).map(lambda text: text * 60), max_size=12))
def test_labels_are_bounded_whatever_they_hold(labels):
    fields, cut = describe(NAMES, made(labels=labels), None, Choice())
    told = fields.get("labels", {})
    assert sum(len(key) + len(value) for key, value in told.items()) <= MOST_IN_ALL
    assert cut == (told != labels)
    assert all(labels[key].startswith(value) and len(value) <= MOST_CHARACTERS for key, value in told.items())


def test_a_label_of_250_kb_is_cut():
    fields, cut = describe(NAMES, made(labels={"app": 'a."\n' * 62_500}), None, Choice())
    assert cut
    assert fields["labels"]["app"] == ('a."\n' * 62_500)[:MOST_CHARACTERS]


def test_instructions_are_those_of_the_container_then_of_the_pod():
    annotations = {
        "fluentbit.io/parser": "nginx",
        "logflow.io/parser-app": " json ",
        "logflow.io/exclude": "true",
    }
    annotated = made(annotations=annotations)
    assert instruction(annotated, "parser", "app") == "json"
    assert instruction(annotated, "parser", "other") == "nginx"
    assert instruction(annotated, "exclude", "other") == "true"
    assert instruction(None, "exclude", "app") == ""


def test_a_pod_is_found_by_uid_and_never_by_a_name_that_came_again():
    pods = Pods()
    pods.put(msgspec.convert(pod("db-0", "old"), Object))
    pods.put(msgspec.convert(pod("db-0", "new"), Object))
    assert pods.find("old", "shop", "db-0").metadata.uid == "old"
    assert pods.find("older", "shop", "db-0") is None
    assert pods.find(None, "shop", "db-0").metadata.uid == "new"


def test_a_static_pod_is_found_by_the_hash_of_its_manifest():
    pods = Pods()
    annotations = {"kubernetes.io/config.mirror": "0f" * 16}
    pods.put(msgspec.convert(pod("etcd", "uid-1", annotations=annotations), Object))
    assert pods.find("0f" * 16, "shop", "etcd").metadata.uid == "uid-1"


def test_what_is_gone_is_forgotten_in_time_and_in_number():
    pods = Pods()
    items = [msgspec.convert(pod(f"p{i}"), Object) for i in range(MOST_GONE + 5)]
    pods.replace(items, 0.0)
    pods.replace([], 1.0)
    assert len(pods) == MOST_GONE
    pods.expire(KEPT_S + 2)
    assert len(pods) == 0
    assert not pods._by_name
    assert not pods._by_hash


def test_paths_give_the_names():
    link = "/var/log/containers/web-0_shop_app-" + "a" * 64 + ".log"
    target = "/var/log/pods/shop_web-0_1234-5678/app/3.log"
    assert read_names([link, target]) == {
        "pod": "web-0", "namespace": "shop", "container": "app", "container_id": "a" * 64,
        "uid": "1234-5678", "restart": "3",
    }  # fmt: skip
    assert read_names(["/var/log/syslog"]) == {}
