"""Output ``loki``: pushes to Grafana Loki, a stream for each tag."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.batch import Chunk
from logflow.outputs.http_store import HttpStore, HttpStoreConfig


class LokiOutput(HttpStore):
    """Several tags share a request. Balancing, retries, compression and credentials are the base's."""

    class Config(HttpStoreConfig):
        """Options of the output ``loki``."""

        type: Literal["loki"] = "loki"
        labels: dict[str, str] = Field({}, description="Labels of every stream, besides `tag`.")
        example: ClassVar[dict[str, Any]] = {"endpoints": ["http://127.0.0.1:3100/loki/api/v1/push"]}

    groups = True

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Encode chunks as Loki's push API wants them."""
        streams = [
            {"stream": {**self.config.labels, "tag": chunk.tag}, "values": self._values(chunk)}
            for chunk in chunks
        ]
        return [json.dumps({"streams": streams}, ensure_ascii=False).encode()]

    def _values(self, chunk: Chunk) -> list[list[Any]]:
        lines = self.context.engine.to_ndjson(chunk.entries, chunk.tag, None, None).decode().splitlines()
        return [[str(int(time)), line] for (time, _), line in zip(chunk.events(), lines, strict=True)]
