"""Output ``http``: POSTs chunks to one or several endpoints.

Each chunk is a request of its own, with its id as ``Idempotency-Key``. :mod:`logflow.net.http_client` tells
what the answers mean, and what happens to endpoints that fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from logflow.batch import Chunk
from logflow.component import Context
from logflow.config.fields import NonEmpty
from logflow.encoders import CONTENT_TYPES, EventKeys, encoder
from logflow.outputs.http_store import HttpStore, HttpStoreConfig


class HttpOutput(HttpStore):
    """Delivers over HTTP."""

    shows_pages = True

    class Config(HttpStoreConfig, EventKeys):
        """Options of the output ``http``."""

        type: Literal["http"] = "http"
        format: Literal["ndjson", "json", "msgpack"] = Field(
            "ndjson", description="`json` is one array; `msgpack` is the packed entries `[time, record]`."
        )
        content_type: NonEmpty | None = Field(
            None, description="Content-Type of the body; that of the format unless set."
        )

    config: HttpOutput.Config

    def __init__(self, config: HttpOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self.content_type = config.content_type or CONTENT_TYPES[config.format]
        self._encode = encoder(
            config.format, context.engine, time_key=config.time_key, tag_key=config.tag_key
        )

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Encode a chunk."""
        (chunk,) = chunks
        return self._encode(chunk.parts, chunk.tag)
