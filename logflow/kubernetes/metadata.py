"""What is told of a container: the value of the field ``kubernetes``, and what its pod asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from logflow.kubernetes.pods import Object

MOST_CHARACTERS = 1024
"""Longer labels and annotations are cut, as they are repeated for each event."""
MOST_IN_ALL = 8192
"""Labels, or annotations, that take more characters are left out from there on."""

_PREFIXES = ("logflow.io/", "fluentbit.io/")


class Choice(NamedTuple):
    """Which labels and annotations are told, by glob patterns."""

    labels: Sequence[str] = ("*",)
    annotations: Sequence[str] = ()
    namespace_labels: Sequence[str] = ()


def describe(
    names: Mapping[str, str], pod: Object | None, namespace: Object | None, choice: Choice
) -> tuple[dict[str, Any], bool]:
    """Return the fields of a container, and whether something was cut.

    Names are those that Fluentd's and Fluent Bit's filters use.
    """
    container = names.get("container")
    restart = int(names["restart"]) if names.get("restart", "").isdecimal() else None
    fields: dict[str, Any] = {
        "namespace_name": names["namespace"],
        "pod_name": names["pod"],
        "pod_id": names.get("uid"),
        "container_name": container,
        "restart_count": restart,
        "docker_id": names.get("container_id"),
    }
    cut = False
    if pod is None:
        fields["metadata_missing"] = True
    else:
        metadata = pod.metadata
        fields |= {
            "pod_id": metadata.uid,
            "docker_id": (container and pod.container_id(container, restart)) or fields["docker_id"],
            "container_image": pod.image(container) if container else None,
            "host": pod.spec.node_name,
            "owner": pod.owner(),
        }
        for key, values, globs in (
            ("labels", metadata.labels, choice.labels),
            ("annotations", metadata.annotations, choice.annotations),
            ("namespace_labels", namespace.metadata.labels if namespace else None, choice.namespace_labels),
        ):
            fields[key], some_cut = _chosen(values, globs)
            cut |= some_cut
    return {key: value for key, value in fields.items() if value not in (None, "", {})}, cut


def _chosen(values: Mapping[str, str] | None, globs: Sequence[str]) -> tuple[dict[str, str], bool]:
    chosen: dict[str, str] = {}
    room, cut = MOST_IN_ALL, False
    for key, value in (values or {}).items():
        if not any(fnmatchcase(key, glob) for glob in globs):
            continue
        kept = value[: min(MOST_CHARACTERS, room)]
        cut |= len(kept) < len(value) or len(key) > room
        if len(key) <= room:
            chosen[key] = kept
            room -= len(key) + len(kept)
    return chosen, cut


def instruction(pod: Object | None, name: str, container: str) -> str:
    """Return what a pod's annotation asks for: of this container, or of all; an empty text if nothing."""
    annotations = (pod.metadata.annotations if pod is not None else None) or {}
    for prefix in _PREFIXES:
        for key in (f"{prefix}{name}-{container}", f"{prefix}{name}"):
            if key in annotations:
                return annotations[key].strip()
    return ""
