"""Pods as the API describes them: what is read of them, and how they are kept.

A pod is found by its UID, as names come again. A static pod's log has the hash of its manifest in place of
the UID; the API has that hash as an annotation. What was deleted is kept for a while, as its last lines are
read after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

KEPT_S = 600.0
"""How long a pod is known after it was deleted."""
MOST_GONE = 10_000
"""Most deleted pods that are kept."""

_MANIFEST_HASH = "kubernetes.io/config.mirror"
_TEMPLATE_HASH = "pod-template-hash"
_LEAST_MINUTES = 8
"""A job of a CronJob is named after it and the minutes from 1970 to when it was due, of so many digits."""


class OwnerReference(msgspec.Struct, frozen=True):
    """Who made an object."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One container of a pod."""

    name: str = ""
    image: str = ""
    container_id: str = msgspec.field(default="", name="containerID")
    restart_count: int = 0


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a pod."""

    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None


class Container(msgspec.Struct, frozen=True):
    """A container as the pod asks for it."""

    name: str = ""
    image: str = ""


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The specification of a pod."""

    node_name: str = ""
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class Object(msgspec.Struct, frozen=True):
    """A pod or a namespace, as far as it is read; what else it holds is skipped."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: Status = Status()

    def statuses(self) -> Iterator[ContainerStatus]:
        """Yield the status of every container."""
        status = self.status
        for some in (
            status.container_statuses,
            status.init_container_statuses,
            status.ephemeral_container_statuses,
        ):
            yield from some or ()

    def image(self, container: str) -> str:
        """Return the image of a container; an empty text if there is none of this name."""
        for status in self.statuses():
            if status.name == container and status.image:
                return status.image
        specs: list[Container] = [*(self.spec.containers or ()), *(self.spec.init_containers or ())]
        for spec in specs:
            if spec.name == container:
                return spec.image
        return ""

    def container_id(self, container: str, restart: int | None) -> str:
        """Return the id of a container; an empty text if it is not the one of this restart any more."""
        for status in self.statuses():
            if status.name == container and restart in {None, status.restart_count}:
                return status.container_id.rpartition("/")[2]
        return ""

    def owner(self) -> dict[str, str] | None:
        """Return the kind and name of what the user made: a Deployment rather than its ReplicaSet.

        The API is not asked: a ReplicaSet of a Deployment is named after it and the hash of its pods'
        template, which they have as a label; a Job of a CronJob after it and the minute that it was due.
        """
        references = self.metadata.owner_references or ()
        reference = next((ref for ref in references if ref.controller), next(iter(references), None))
        if reference is None:
            return None
        stem, _, last = reference.name.rpartition("-")
        if (
            reference.kind == "ReplicaSet"
            and stem
            and last == (self.metadata.labels or {}).get(_TEMPLATE_HASH)
        ):
            return {"kind": "Deployment", "name": stem}
        if reference.kind == "Job" and stem and last.isdecimal() and len(last) == _LEAST_MINUTES:
            return {"kind": "CronJob", "name": stem}
        return {"kind": reference.kind, "name": reference.name}


class Pods:
    """The pods that are known, by UID, by manifest hash and by name."""

    def __init__(self) -> None:
        self._by_uid: dict[str, Object] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_hash: dict[str, str] = {}
        self._gone_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._by_uid)

    def find(self, uid: str | None, namespace: str, name: str) -> Object | None:
        """Find a pod by UID or manifest hash; by name only where no UID is known."""
        if uid:
            return self._by_uid.get(uid) or self._by_uid.get(self._by_hash.get(uid, ""))
        return self._by_uid.get(self._by_name.get((namespace, name), ""))

    def put(self, pod: Object) -> None:
        """Know a pod, or what is new of it."""
        metadata = pod.metadata
        self._by_uid[metadata.uid] = pod
        self._by_name[metadata.namespace, metadata.name] = metadata.uid
        if digest := (metadata.annotations or {}).get(_MANIFEST_HASH):
            self._by_hash[digest] = metadata.uid
        self._gone_s.pop(metadata.uid, None)

    def remove(self, pod: Object, now_s: float) -> None:
        """A pod was deleted: it is known for a while longer."""
        if pod.metadata.uid in self._by_uid:
            self._gone_s.setdefault(pod.metadata.uid, now_s)
        self.expire(now_s)

    def replace(self, pods: Iterable[Object], now_s: float) -> None:
        """Take a list as all that there is; what is not in it was deleted."""
        there = {pod.metadata.uid: pod for pod in pods}
        for pod in there.values():
            self.put(pod)
        for uid in self._by_uid.keys() - there.keys():
            self._gone_s.setdefault(uid, now_s)
        self.expire(now_s)

    def expire(self, now_s: float) -> None:
        """Forget what was deleted long ago."""
        while self._gone_s:
            uid, since_s = next(iter(self._gone_s.items()))
            if now_s - since_s < KEPT_S and len(self._gone_s) <= MOST_GONE:
                break
            del self._gone_s[uid]
            self._forget(self._by_uid.pop(uid))

    def _forget(self, pod: Object) -> None:
        metadata = pod.metadata
        name = (metadata.namespace, metadata.name)
        if self._by_name.get(name) == metadata.uid:
            del self._by_name[name]
        digest = (metadata.annotations or {}).get(_MANIFEST_HASH, "")
        if self._by_hash.get(digest) == metadata.uid:
            del self._by_hash[digest]


class Namespaces:
    """The namespaces that are known, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Object] = {}

    def find(self, name: str) -> Object | None:
        """Find a namespace."""
        return self._by_name.get(name)

    def put(self, namespace: Object) -> None:
        """Know a namespace, or what is new of it."""
        self._by_name[namespace.metadata.name] = namespace

    def remove(self, namespace: Object, now_s: float) -> None:  # noqa: ARG002 - as of pods
        """A namespace was deleted."""
        self._by_name.pop(namespace.metadata.name, None)

    def replace(self, namespaces: Iterable[Object], now_s: float) -> None:  # noqa: ARG002
        """Take a list as all that there is."""
        self._by_name = {namespace.metadata.name: namespace for namespace in namespaces}
