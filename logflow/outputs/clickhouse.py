"""Output ``clickhouse``: rows to ClickHouse over HTTP, by ``INSERT ... FORMAT JSONEachRow``.

::

    POST /?query=INSERT INTO `db`.`table` FORMAT JSONEachRow&insert_deduplication_token=<id of the chunk>&...

Each chunk is an INSERT of its own with its id as the token: a table that keeps a window of tokens
(``Replicated*MergeTree``, or ``non_replicated_deduplication_window``) takes it once. An INSERT is stored as
a whole or not at all; one that is refused is halved until the bad rows are found. Sources: "HTTP
interface", "insert_deduplication_token" in ClickHouse's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import Field

from logflow.batch import Chunk
from logflow.component import Context
from logflow.compression import Compression
from logflow.config.fields import NonEmpty
from logflow.encoders import EventKeys
from logflow.engine.stores import Wrapping
from logflow.outputs.http_store import HttpStore, HttpStoreConfig, request_name
from logflow.templates.names import NameTemplate, Template

_SETTINGS = {
    "async_insert": "0",
    "wait_end_of_query": "1",
    "date_time_input_format": "best_effort",
    "input_format_json_read_objects_as_strings": "1",
}


class ClickhouseOutput(HttpStore):
    """Delivers to ClickHouse."""

    isolates = True
    content_type = "application/x-ndjson"

    class Config(HttpStoreConfig, EventKeys):
        """Options of the output ``clickhouse``."""

        example: ClassVar[Mapping[str, Any]] = {"endpoints": ["http://127.0.0.1:8123"]}

        type: Literal["clickhouse"] = "clickhouse"
        database: NonEmpty = Field("default", description="Database.")
        table: Template = Field("logs", description="Table: a template with `{tag}` and its parts.")
        record_column: NonEmpty | None = Field(
            None,
            description="Column that takes the whole record (`JSON` or `String`); unset: one for each field.",
        )
        skip_unknown: bool = Field(
            default=True,
            description="Leave fields out that the table has no column for; `false` refuses their rows.",
        )
        settings: dict[str, str] = Field(
            {},
            description="Settings of the query, such as `insert_quorum`.",
            examples=[{"insert_quorum": "2"}],
        )
        compress: Compression = Field("gzip", description="Content-Encoding of the body.")

    config: ClickhouseOutput.Config

    def __init__(self, config: ClickhouseOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._table = NameTemplate(config.table, context.engine)

    def path(self, chunks: Sequence[Chunk]) -> str:
        """The query: where to, and the token by which a repeat is recognised."""
        (chunk,) = chunks
        config = self.config
        table = f"{_quoted(config.database)}.{_quoted(self._table.of_tag(chunk.tag))}"
        settings = {
            **_SETTINGS,
            "input_format_skip_unknown_fields": str(int(config.skip_unknown)),
            **config.settings,
            "insert_deduplication_token": request_name(chunks).hex(),
        }
        return "/?" + urlencode({"query": f"INSERT INTO {table} FORMAT JSONEachRow"} | settings)

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Write a row for each event."""
        (chunk,) = chunks
        config, engine = self.config, self.context.engine
        if config.record_column is None:
            yield engine.to_ndjson(chunk.entries, chunk.tag, config.time_key, config.tag_key)
            return
        head = b"{"
        if config.tag_key is not None:
            head += _text(config.tag_key) + b":" + _text(chunk.tag) + b","
        if config.time_key is None:
            wrapping = Wrapping([head + _text(config.record_column) + b":"], b"", b"}\n")
        else:
            between = b'",' + _text(config.record_column) + b":"
            wrapping = Wrapping([head + _text(config.time_key) + b':"'], between, b"}\n", None, "seconds")
        yield engine.to_wrapped(chunk.entries, chunk.tag, wrapping, None, None)


def _quoted(name: str) -> str:
    """A name as a query may hold it."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _text(text: str) -> bytes:
    return json.dumps(text).encode()
