"""Output ``datadog``: logs to Datadog's intake.

::

    POST /api/v2/logs    DD-API-KEY: ...    an array of objects; 202 taken
    at most 1,000 objects and 5 MB in a request, 1 MB for one of them

Fields that Datadog gives a meaning are added where a record has none of that name. Delivery is at least
once. Source: "Send logs" in the reference of Datadog's API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.batch import Chunk
from logflow.component import Context
from logflow.compression import Compression
from logflow.config.fields import parse_size
from logflow.config.options import GroupOptions
from logflow.config.secrets import Secret, SecretField
from logflow.engine.stores import Wrapping
from logflow.outputs.http_store import GroupStoreConfig, HttpStore
from logflow.templates.names import NameTemplate, Template

_MOST_EVENTS = 1000


class DatadogOutput(HttpStore):
    """Delivers to Datadog."""

    groups = True
    isolates = True
    most_events = _MOST_EVENTS

    class Config(GroupStoreConfig):
        """Options of the output ``datadog``."""

        example: ClassVar[Mapping[str, Any]] = {"endpoints": ["http://127.0.0.1:8080"], "api_key": "a-key"}

        type: Literal["datadog"] = "datadog"
        api_key: SecretField = Field(description="API key.")
        ddsource: Template = Field(
            "logflow", description="Technology: a template with `{tag}` and its parts."
        )
        ddtags: Template | None = Field(None, description="Tags `a:x,b:y`: a template too.")
        hostname: Template = Field("{hostname}", description="Host: a template too.")
        service: Template = Field("{tag}", description="Service: a template too.")
        batch: GroupOptions = Field(
            GroupOptions(max_bytes=parse_size("3MiB"), max_events=_MOST_EVENTS),
            description="How much is delivered in one go, whatever its tags.",
        )
        compress: Compression = Field("gzip", description="Content-Encoding of the body.")

    config: DatadogOutput.Config

    def __init__(self, config: DatadogOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        texts = {
            "ddsource": config.ddsource, "ddtags": config.ddtags, "hostname": config.hostname,
            "service": config.service,
        }  # fmt: skip
        self._fields = {
            key: NameTemplate(text, context.engine) for key, text in texts.items() if text is not None
        }

    def identity(self) -> Mapping[str, tuple[str, Secret]]:
        """The API key."""
        return {"DD-API-KEY": ("", self.config.api_key)}

    def path(self, chunks: Sequence[Chunk]) -> str:  # noqa: ARG002 - one place for all
        """The intake of logs."""
        return "/api/v2/logs"

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Write one array of all events."""
        engine, before = self.context.engine, b"["
        for chunk in chunks:
            fields = {key: template.of_tag(chunk.tag) for key, template in self._fields.items()}
            entries = engine.splice(chunk.entries, fields)
            objects = engine.to_wrapped(entries, chunk.tag, Wrapping([b","], b"", b""), "@timestamp", None)
            yield before + objects[1:]
            before = b","
        yield b"]"
