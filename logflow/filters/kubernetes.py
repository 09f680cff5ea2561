"""Filter ``kubernetes``: says which pod and container an event comes from.

::

    path of the log file ──► namespace, pod, UID, container, restart ──┐
    or fields of the record, on an aggregator                          ├──► the field ``kubernetes``
    API: labels, owner, image, node, namespace ── watched, kept ───────┘

What belongs to a container is made once and spliced as packed bytes, with one call for a batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from pydantic import Field, ValidationError

from logflow.batch import Batch
from logflow.component import Context, Filter, Parser
from logflow.config.fields import Duration, NonEmpty
from logflow.config.options import FilterConfig
from logflow.engine.changes import FieldParser, Modify
from logflow.errors import LogflowError
from logflow.expressions import compile_expression
from logflow.formats import FORMATS
from logflow.kubernetes.cluster import Cluster
from logflow.kubernetes.metadata import Choice, describe, instruction
from logflow.kubernetes.pods import Object
from logflow.registry import load

_REMEMBERED = 20_000
"""Most containers whose fields are kept ready."""
_MOST_CHANGES = 4
"""Most forms of the field, as an agent wrote it, that are remembered of one container."""
_MOST_KEPT_BYTES = 4096
_FIELD = compile_expression("kubernetes")
_NAMES = {"uid": "pod_id", "namespace": "namespace_name", "pod": "pod_name", "container": "container_name"}
_decode = msgspec.msgpack.decode


class _Known(NamedTuple):
    """What is done with the events of one container.

    Attributes:
        pod: what it was made of; ``None`` if the API has not told of it.
        fields: the value of the field ``kubernetes``.
        excluded: whether the pod asks for its events to be left out.
        parser: of the field ``message``, if the pod asks for one.
        changes: complete the field of records that have one already, by that as it is packed.
    """

    pod: Object | None
    fields: dict[str, Any]
    excluded: bool
    parser: FieldParser | None
    changes: dict[bytes, Modify]


class KubernetesFilter(Filter):
    """Adds the field ``kubernetes``, from the path or fields of an event and from the cluster."""

    class Config(FilterConfig):
        """Options of the filter ``kubernetes``."""

        type: Literal["kubernetes"] = "kubernetes"
        labels: list[NonEmpty] = Field(
            ["*"], description="Which labels of the pod to add, by patterns such as `app*`."
        )
        annotations: list[NonEmpty] = Field([], description="Which annotations of the pod to add.")
        namespace_labels: list[NonEmpty] = Field(
            [], description="Which labels of the pod's namespace to add; then namespaces are watched too."
        )
        wait: Duration = Field(
            5.0, ge=0,
            description="How long the start waits for the API. Events of pods that it has not told of go on "
            "with what the path says, marked `metadata_missing: true` and counted.",
        )  # fmt: skip
        node: NonEmpty | None = Field(
            None,
            description="Watch only the pods of this node; the variable `NODE_NAME` unless set, and all pods "
            "if that is not set either.",
        )
        kubeconfig: Path | None = Field(None, description="How to reach the API from outside of the cluster.")
        obey_annotations: bool = Field(
            default=True,
            description='Do what the pods\' annotations ask for: `logflow.io/exclude: "true"` and '
            "`logflow.io/parser: NAME`, also with `-CONTAINER` at the end, or `fluentbit.io/` in front.",
        )

    config: KubernetesFilter.Config

    def __init__(self, config: KubernetesFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._cluster = Cluster(context, config.kubeconfig)
        self._choice = Choice(config.labels, config.annotations, config.namespace_labels)
        self._known: dict[tuple[str, ...], _Known] = {}
        self._field = context.engine.computation(_FIELD)
        self._missing = context.counter(
            "events_without_metadata", "Events of pods that the API of Kubernetes had not told of."
        )
        self._told: set[tuple[str, str]] = set()

    async def open(self) -> None:
        """Begin to watch.

        Raises:
            ComponentError: the kubeconfig cannot be used.
        """
        await self._cluster.open(
            self.config.node or os.environ.get("NODE_NAME"),
            namespaces=bool(self.config.namespace_labels),
            wait_s=self.config.wait,
        )

    def apply(self, batch: Batch) -> Batch | None:
        """Add the field to every record."""
        container: Mapping[str, str] = batch.attributes.get("container", {})
        if "pod" in container:
            known = self._look_up(container)
            return None if known.excluded else self._splice(batch, known)
        return self._apply_by_fields(batch)

    def _splice(self, batch: Batch, known: _Known) -> Batch:
        if known.pod is None:
            self._missing(batch.count)
        entries = batch.entries if known.parser is None else known.parser.apply(batch.entries)[0]
        entries = self.context.engine.splice(entries, {"kubernetes": known.fields})
        return batch.with_entries(entries, batch.count)

    def _apply_by_fields(self, batch: Batch) -> Batch | None:
        """Complete the field where records have it, for each run of events in which it is the same."""
        parts: list[bytes] = []
        count = 0
        for entries, events, value in self._runs(batch):
            own = _read(value)
            known = self._look_up(_names_of(own)) if own is not None else None
            if known is not None and known.excluded:
                continue
            count += events
            if known is None or own is None:
                parts.append(entries)
                continue
            if known.pod is None:
                self._missing(events)
            parts.append(self._complete(entries, known, value, own, batch.tag))
        return batch.with_entries(b"".join(parts), count) if count else None

    def _runs(self, batch: Batch) -> Iterator[tuple[bytes, int, bytes]]:
        """Divide a batch where the field changes: entries, events, the packed field."""
        source = batch.attributes.get("source")
        values = self._field.values(batch.entries, batch.tag, source, self.context.clock.time_ns())
        runs = [(value, len(list(run))) for value, run in groupby(values)]
        if len(runs) == 1:
            yield batch.entries, batch.count, runs[0][0]
            return
        starts = [*self.context.engine.offsets(batch.entries), len(batch.entries)]
        first = 0
        for value, events in runs:
            yield batch.entries[starts[first] : starts[first + events]], events, value
            first += events

    def _complete(self, entries: bytes, known: _Known, value: bytes, own: dict[str, Any], tag: str) -> bytes:
        """Add what is missing of the field; what a record has stays."""
        if known.parser is not None:
            entries = known.parser.apply(entries)[0]
        change = known.changes.get(value)
        if change is None:
            whole = own | {key: item for key, item in known.fields.items() if key not in own}
            change = self.context.engine.modify([("set", "kubernetes", whole)], {})
            if len(known.changes) < _MOST_CHANGES and len(value) <= _MOST_KEPT_BYTES:
                known.changes[value] = change
        return change.apply(entries, tag)

    def _look_up(self, names: Mapping[str, str]) -> _Known:
        """Find what is done with a container's events, made anew when the API tells something new."""
        pod = self._cluster.pods.find(names.get("uid"), names["namespace"], names["pod"])
        key = tuple(names.values())
        known = self._known.get(key)
        # What was known of a pod that was deleted long ago stays true.
        if known is None or (pod is not None and known.pod is not pod):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
                self._told.clear()
            known = self._known[key] = self._make(names, pod)
        return known

    def _make(self, names: Mapping[str, str], pod: Object | None) -> _Known:
        namespaces = self._cluster.namespaces
        namespace = namespaces.find(names["namespace"]) if namespaces is not None else None
        fields, cut = describe(names, pod, namespace, self._choice)
        if cut:
            self._say(names, "are too large and were cut", "its labels or annotations")
        obeyed = pod if self.config.obey_annotations else None
        container = names.get("container", "")
        return _Known(
            pod, fields,
            excluded=instruction(obeyed, "exclude", container).lower() in {"true", "1", "yes"},
            parser=self._parser(instruction(obeyed, "parser", container), names),
            changes={},
        )  # fmt: skip

    def _parser(self, name: str, names: Mapping[str, str]) -> FieldParser | None:
        if not name:
            return None
        parser = named_parser(name, self.context)
        if parser is None:
            self._say(names, "does not exist and is not used", f"the parser {name[:100]!r} of its annotation")
            return None
        return self.context.engine.field_parser(parser, "message")

    def _say(self, names: Mapping[str, str], what: str, subject: str) -> None:
        """Say once what is wrong with a pod."""
        pod = f"{names['namespace']}/{names['pod']}"
        if (pod, subject) not in self._told:
            self._told.add((pod, subject))
            self.context.log.warning("Pod %s: %s %s.", pod, subject, what)


def named_parser(name: str, context: Context) -> Parser | None:
    """Build the parser of a name that needs no options; ``None`` if there is none."""
    options = {"type": "preset", "name": name} if name in FORMATS else {"type": name}
    try:
        return context.parser(load("parser", options["type"]).Config(**options))
    except (KeyError, ValidationError, LogflowError):
        return None


def _read(packed: bytes) -> dict[str, Any] | None:
    """The field of a record; ``None`` if it does not say which pod it is of."""
    if packed[:1] in b"\xc0":
        return None
    try:
        field = _decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        return None
    if not isinstance(field, dict) or not {"namespace", "pod"} <= _names_of(field).keys():
        return None
    return field


def _names_of(field: Mapping[str, Any]) -> dict[str, str]:
    """Find the names of a container in the field of a record."""
    found = {name: field.get(key) for name, key in _NAMES.items()}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}
