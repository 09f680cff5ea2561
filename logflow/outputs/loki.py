"""Output ``loki``: log lines to Grafana Loki, or to whatever takes its push interface.

::

    POST /loki/api/v1/push    protocol buffers in a snappy block, or JSON
    a stream is a set of labels; its lines have a time, a text and structured metadata

    204  taken
    400  some lines are too old, or something is too long; the others were taken
    429  too much now

Loki drops a line that has the time and the text of one it has in the same stream, so repeats are harmless.
Every set of labels is a stream that costs Loki memory: their number is bounded by ``max_streams``, and what
is beyond it loses the labels made of fields. Source: "Loki HTTP API", "POST /loki/api/v1/push", in Loki's
documentation.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from logflow.batch import Chunk
from logflow.component import Context
from logflow.config.fields import FieldName, NonEmpty
from logflow.encoders import text_of
from logflow.engine.stores import LokiForm
from logflow.outputs.http_store import GroupStoreConfig, HttpStore
from logflow.protobuf import delimited
from logflow.templates.names import NameTemplate, Template, distinct_rows, field_values

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}
_PUSH = "/loki/api/v1/push"
_OTHERS = "_others"
_IDLE_S = 3600.0
"""A stream counts for so long after its last line."""


class LokiOutput(HttpStore):
    """Delivers to Loki."""

    groups = True
    isolates = True

    class Config(GroupStoreConfig):
        """Options of the output ``loki``."""

        example: ClassVar[Mapping[str, Any]] = {"endpoints": ["http://127.0.0.1:3100"]}

        type: Literal["loki"] = "loki"
        labels: dict[str, Template] = Field(
            {"tag": "{tag}"},
            min_length=1,
            description="Labels of a stream: templates with `{tag}`, `{tag[0]}`, `{hostname}`, `{field}`. "
            "Take fields with few different values.",
            examples=[{"app": "{kubernetes.labels.app}", "level": "{level}"}],
        )
        max_streams: int = Field(
            1000, ge=1,
            description="Most sets of labels at once; beyond it, labels made of fields are `_others`.",
        )  # fmt: skip
        structured_metadata: dict[str, FieldName] = Field(
            {}, description="Structured metadata of a line: its name, and the field that it is the text of."
        )
        line: Literal["json", "message"] = Field(
            "json", description="A line is the record as JSON, or the field `message_key` where that is text."
        )
        message_key: NonEmpty = Field("message", description="Field that is the line, with `line: message`.")
        tenant: Template | None = Field(
            None, description="Tenant (`X-Scope-OrgID`): a template with `{tag}` and its parts."
        )
        encoding: Literal["protobuf", "json"] = Field(
            "protobuf", description="How a request is written; protocol buffers go in a snappy block."
        )

        @model_validator(mode="after")
        def _check_compression(self) -> LokiOutput.Config:
            if self.encoding == "protobuf" and self.compress != "none":
                raise ValueError("protocol buffers go in a snappy block; compress belongs to encoding: json")
            return self

        @field_validator("labels", "structured_metadata")
        @classmethod
        def _check_labels(cls, labels: dict[str, str]) -> dict[str, str]:
            for name in labels:
                if not _LABEL.fullmatch(name):
                    raise ValueError(f"{name!r} is not the name of a label; write letters, digits and _")
            return labels

    config: LokiOutput.Config

    def __init__(self, config: LokiOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        engine = context.engine
        self.content_type = _TYPES[config.encoding]
        self._labels = {name: NameTemplate(text, engine) for name, text in config.labels.items()}
        self._by_event = [name for name, template in self._labels.items() if template.by_event]
        self._tenant = None if config.tenant is None else NameTemplate(config.tenant, engine, _header)
        self._metadata = {
            name: field_values(path, engine) for name, path in config.structured_metadata.items()
        }
        self._known: OrderedDict[tuple[str, ...], float] = OrderedDict()
        """Streams in use, and when they were last; those used last at the end."""
        self._lock = threading.Lock()
        self._over = context.counter("streams_refused", "Events whose labels were beyond max_streams.")

    def path(self, chunks: Sequence[Chunk]) -> str:  # noqa: ARG002 - one place for all
        """The push interface."""
        return _PUSH

    def apart(self, chunk: Chunk) -> str:
        """Chunks of one tenant go together."""
        return super().apart(chunk) + "\0" + ("" if self._tenant is None else self._tenant.of_tag(chunk.tag))

    def request_headers(self, chunks: Sequence[Chunk]) -> Mapping[str, str]:
        """The tenant."""
        return {} if self._tenant is None else {"X-Scope-OrgID": self._tenant.of_tag(chunks[0].tag)}

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Write the streams of all chunks."""
        streams: dict[tuple[str, ...], list[bytes]] = {}
        encode = self._protobuf if self.config.encoding == "protobuf" else self._json
        for chunk in chunks:
            found, which = self._streams(chunk)
            for stream, text in zip(found, encode(chunk, len(found), which), strict=True):
                streams.setdefault(stream, []).append(text)
        if self.config.encoding == "protobuf":
            parts = (
                delimited(1, b"".join([delimited(1, self._shown(stream)), *texts]))
                for stream, texts in streams.items()
            )
            yield self.context.engine.snappy(b"".join(parts))
        else:
            yield (
                b'{"streams":['
                + b",".join(
                    b'{"stream":%b,"values":[%b]}' % (self._object(stream), b",".join(texts))
                    for stream, texts in streams.items()
                )
                + b"]}"
            )

    # -- streams ----------------------------------------------------------------------------------

    def _streams(self, chunk: Chunk) -> tuple[list[tuple[str, ...]], list[int] | None]:
        """The different sets of labels in a chunk, and which each event has."""
        columns = [template.names(chunk.entries, chunk.tag) for template in self._labels.values()]
        rows, which = distinct_rows(columns)
        numbers: dict[tuple[str, ...], int] = {}
        events = Counter(which) if which is not None else {0: chunk.count}
        renamed = [
            numbers.setdefault(self._admitted(row, events[number]), len(numbers))
            for number, row in enumerate(rows)
        ]
        return list(numbers), None if which is None else [renamed[number] for number in which]

    def _admitted(self, stream: tuple[str, ...], events: int) -> tuple[str, ...]:
        """The stream itself, or the one for all beyond ``max_streams``."""
        now_s = self.context.clock.monotonic()
        with self._lock:
            if stream not in self._known and len(self._known) >= self.config.max_streams:
                oldest, used_s = next(iter(self._known.items()))
                if now_s - used_s < _IDLE_S:
                    self._over(events)
                    return self._without_fields(stream)
                del self._known[oldest]
            self._known[stream] = now_s
            self._known.move_to_end(stream)
        return stream

    def _without_fields(self, stream: tuple[str, ...]) -> tuple[str, ...]:
        pairs = zip(self._labels, stream, strict=True)
        return tuple(_OTHERS if name in self._by_event else value for name, value in pairs)

    def _shown(self, stream: tuple[str, ...]) -> bytes:
        """Labels as Loki's query language writes them: ``{a="x", b="y"}``."""
        pairs = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self._pairs(stream))
        return ("{" + ", ".join(pairs) + "}").encode("utf-8", "backslashreplace")

    def _object(self, stream: tuple[str, ...]) -> bytes:
        return json.dumps(dict(self._pairs(stream))).encode()

    def _pairs(self, stream: tuple[str, ...]) -> list[tuple[str, str]]:
        return sorted(zip(self._labels, stream, strict=True))

    # -- lines ------------------------------------------------------------------------------------

    @property
    def _line_key(self) -> str | None:
        return self.config.message_key if self.config.line == "message" else None

    def _protobuf(self, chunk: Chunk, streams: int, which: list[int] | None) -> list[bytes]:
        extra = None
        if self._metadata:
            extra = [b"".join(map(_label_pair, *zip(*pairs.items(), strict=True))) if pairs else b""
                     for pairs in self._metadata_of(chunk)]  # fmt: skip
        return self.context.engine.to_loki(chunk.entries, LokiForm(streams, which, self._line_key, extra))

    def _json(self, chunk: Chunk, streams: int, which: list[int] | None) -> list[bytes]:
        lines = self.context.engine.to_ndjson(chunk.entries, "", None, None).decode().split("\n")
        metadata = list(self._metadata_of(chunk)) if self._metadata else None
        texts: list[list[str]] = [[] for _ in range(streams)]
        for index, (time, record) in enumerate(chunk.events()):
            line = lines[index]
            if self._line_key is not None and isinstance(text := record.get(self._line_key), str):
                line = text
            value: list[Any] = [str(int(time)), line]
            if metadata is not None:
                value.append(metadata[index])
            texts[0 if which is None else which[index]].append(json.dumps(value, ensure_ascii=False))
        return [",".join(values).encode("utf-8", "backslashreplace") for values in texts]

    def _metadata_of(self, chunk: Chunk) -> Iterable[dict[str, str]]:
        columns = [values(chunk.entries, chunk.tag) for values in self._metadata.values()]
        for row in zip(*columns, strict=True):
            pairs = zip(self._metadata, row, strict=True)
            yield {name: text_of(value) for name, value in pairs if value is not None}


def _header(text: str) -> str:
    """A tenant as it may stand in a header."""
    return "".join(c if c.isascii() and c.isprintable() else "_" for c in text)


def _label_pair(name: str, text: str) -> bytes:
    return delimited(3, delimited(1, name.encode()) + delimited(2, text.encode("utf-8", "backslashreplace")))
