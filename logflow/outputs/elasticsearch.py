"""Output ``elasticsearch``: documents to Elasticsearch (7, 8, 9) and OpenSearch (2, 3) by ``_bulk``.

One request has the documents of many chunks, whatever their tags and indices::

    {"create":{"_index":"logs-2026.11.28","_id":"<id of the chunk>-<place in it>"}}
    {"@timestamp":...}

``create`` refuses an id that is there already, with 409: then an earlier attempt stored the document, though
its answer never came, and all is well. The answer tells for each document what became of it::

    2xx, 409                                  delivered
    429, 5xx                                  tried again, alone
    401, 403, 404; no such pipeline or alias  held: tried again, as somebody will mend it
    other 4xx                                 a dead letter with the store's reason

An answer that is not one of `_bulk` (HTML of a proxy, a torn text) says nothing, so the request is sent
again: ids make that harmless. Sources: the pages "Bulk API" of both projects' references.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field, JsonValue

from logflow.batch import Chunk
from logflow.component import Context
from logflow.compression import Compression
from logflow.config.fields import NonEmpty
from logflow.config.options import Options
from logflow.config.secrets import Secret, SecretField
from logflow.encoders import EventKeys
from logflow.engine.stores import Wrapping
from logflow.errors import ComponentError, DeliveryError, PermanentError
from logflow.net.http_client import Answer, Post
from logflow.outputs.holding import Holding
from logflow.outputs.http_store import GroupStoreConfig, HttpStore
from logflow.outputs.outcomes import outcome
from logflow.templates.names import NameTemplate, Template, distinct_rows

_FORBIDDEN = re.compile(r'[\\/*?"<>|,#: \x00-\x1f]')
_NAME_BYTES = 255
_BULK = (
    "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,"
    "items.*.error.caused_by.reason"
)
_MISSING = re.compile(r"pipeline with id \[.*\] does not exist|no write index is defined for alias")
"""Refusals with status 400 that are about the configuration, not about the document."""
_REASON_CHARACTERS = 400


class IndexTemplate(Options):
    """An index template that is put at the start."""

    name: NonEmpty = Field(description="Name of the template; one of this name is replaced.")
    body: dict[str, JsonValue] = Field(
        description="What `PUT /_index_template/NAME` takes: `index_patterns`, `template`, `data_stream`."
    )


class _Cause(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    reason: str | None = None
    caused_by: _Cause | None = None

    def __str__(self) -> str:
        parts = (self.type, self.reason, self.caused_by.reason if self.caused_by else None)
        return ": ".join(filter(None, parts))[:_REASON_CHARACTERS]


class _Item(msgspec.Struct):
    status: int
    error: _Error | None = None


class _Bulk(msgspec.Struct):
    errors: bool
    items: list[dict[str, _Item]] = []


_read_answer = msgspec.json.Decoder(_Bulk).decode


class ElasticsearchOutput(HttpStore):
    """Delivers to Elasticsearch and OpenSearch."""

    groups = True
    answer_bytes = 32 << 20
    content_type = "application/x-ndjson"

    class Config(GroupStoreConfig, EventKeys):
        """Options of the output ``elasticsearch``."""

        example: ClassVar[Mapping[str, Any]] = {"endpoints": ["http://127.0.0.1:9200"]}

        type: Literal["elasticsearch"] = "elasticsearch"
        index: Template = Field(
            "logs-%Y.%m.%d",
            description="Index, alias or data stream: a template with `{tag}`, `{tag[0]}`, `{field}` and the "
            "event's time (`%Y.%m.%d`, UTC). Letters become small, forbidden characters `_`.",
        )
        pipeline: Template | None = Field(None, description="Ingest pipeline: a template too.")
        routing: Template | None = Field(None, description="Value for routing to a shard: a template too.")
        compress: Compression = Field("gzip", description="Content-Encoding of the body.")
        api_key: SecretField | None = Field(
            None, description="API key as the store shows it: base64 of `id:key`; instead of `auth`."
        )
        index_template: IndexTemplate | None = Field(
            None, description="Index template to put at the start; mappings of fields belong into it."
        )

    config: ElasticsearchOutput.Config

    def __init__(self, config: ElasticsearchOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        engine = context.engine
        self._index = NameTemplate(config.index, engine, index_name)
        more = {"pipeline": config.pipeline, "routing": config.routing}
        self._more = {key: NameTemplate(text, engine) for key, text in more.items() if text is not None}
        self._holding = Holding(config.hold_for, context.clock)

    def identity(self) -> Mapping[str, tuple[str, Secret]]:
        """The API key, if there is one."""
        key: SecretField | None = self.config.api_key
        return {} if key is None else {"Authorization": ("ApiKey ", key)}

    def path(self, chunks: Sequence[Chunk]) -> str:
        """The bulk interface; of its answer only what tells about failures."""
        del chunks
        return _BULK

    async def open(self) -> None:
        """Load certificates and secrets, and put the index template.

        Raises:
            ComponentError: the store refuses the template.
            DeliveryError: the store cannot be reached, or not yet.
        """
        await super().open()
        template = self.config.index_template
        if template is None:
            return
        body = self.client.compress([json.dumps(template.body).encode()])
        path = f"/_index_template/{template.name}"
        try:
            await self.client.post(Post(b"template", body, "application/json", path=path, method="PUT"))
        except PermanentError as error:
            raise ComponentError(
                f"the store refuses the index template {template.name!r}: {error}"
            ) from error

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Write an action and a document for each event."""
        for chunk in chunks:
            entries, places = chunk.entries, chunk.places
            before, which = self._actions(entries, chunk.tag, places.chunk.hex())
            wrapping = Wrapping(before, b'"}}\n', b"\n", which, places.indices)
            yield self.context.engine.to_wrapped(
                entries, chunk.tag, wrapping, self.config.time_key, self.config.tag_key
            )

    def _actions(self, entries: bytes, tag: str, chunk_id: str) -> tuple[list[bytes], list[int] | None]:
        """The different beginnings of actions, and which each event has."""
        indices, which = self._index.names(entries, tag)
        if not self._more:
            return [_action({"_index": index}, chunk_id) for index in indices], which
        columns = [(indices, which), *(names.names(entries, tag) for names in self._more.values())]
        rows, which = distinct_rows(columns)
        keys = ("_index", *self._more)
        return [_action(dict(zip(keys, row, strict=True)), chunk_id) for row in rows], which

    def results(self, chunks: Sequence[Chunk], answer: Answer) -> Sequence[Exception | None]:
        """Read what became of each document."""
        try:
            bulk = _read_answer(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DeliveryError(
                f"cannot read the answer to a bulk request: {self.client.excerpt(answer)}"
            ) from error
        if not bulk.errors:
            return [None] * len(chunks)
        if len(bulk.items) != sum(chunk.count for chunk in chunks):
            raise DeliveryError(
                f"the answer to a bulk request tells of {len(bulk.items)} documents, "
                f"not of all: {self.client.excerpt(answer)}"
            )
        items = iter(bulk.items)
        return [self._result(chunk, items, answer.endpoint) for chunk in chunks]

    def _result(self, chunk: Chunk, items: Iterator[dict[str, _Item]], endpoint: str) -> Exception | None:
        refused: dict[int, str] = {}
        again: list[int] = []
        why = ""
        held = False
        for index in range(chunk.count):
            (item,) = next(items).values()
            if item.status < 300 or item.status == 409:
                continue
            reason = f"{endpoint} answered {item.status} {item.error or ''} for a document"
            meaning = self._meaning(item)
            if meaning == "hold":
                held = True
                if self._holding.is_over(chunk):
                    meaning = "reject"
            if meaning == "reject":
                refused[index] = reason
            elif meaning != "delivered":
                again.append(index)
                why = why or reason
        if not held:
            self._holding.let_go(chunk)
        return outcome(chunk, refused, again, why, self.context.engine)

    def _meaning(self, item: _Item) -> str:
        if item.status == 400 and item.error is not None and _MISSING.search(item.error.reason or ""):
            return "hold"
        return self.config.meaning(item.status)


def index_name(text: str) -> str:
    """Make a name that an index may have of any text.

    Source: "Create index API", path parameters, in Elasticsearch's reference.
    """
    name = _FORBIDDEN.sub("_", text.lower()).lstrip("-_+")
    name = name.encode()[:_NAME_BYTES].decode("utf-8", "ignore")
    return f"x_{name}" if name in ("", ".", "..") else name


def _action(fields: Mapping[str, str], chunk_id: str) -> bytes:
    """The action up to the place of the event, which stands at the end of its id."""
    text = json.dumps(
        {"create": {**fields, "_id": f"{chunk_id}-"}}, ensure_ascii=False, separators=(",", ":")
    )
    return text.removesuffix('"}}').encode("utf-8", "backslashreplace")
