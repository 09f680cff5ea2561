"""Output ``otlp``: log records to whatever takes the OpenTelemetry protocol, over HTTP or gRPC.

::

    POST /v1/logs, or a call of LogsService/Export

                     ExportLogsServiceRequest in protocol buffers, compressed with gzip
      ResourceLogs   one for each set of values of ``resource``
        ScopeLogs
          LogRecord  time, severity, body, attributes (the other fields), trace id, span id

    200  partial_success says how many records were refused, but not which; they are counted and said

Delivery is at least once. Each record carries the attribute ``log.record.uid``, id of its chunk and place
in it, the same over retries, so that a store can drop what it has already. Source: "OTLP Specification",
OTLP/HTTP and OTLP/gRPC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from yarl import URL

from logflow import extras
from logflow.batch import Chunk
from logflow.component import Context
from logflow.compression import Compression
from logflow.config.fields import NonEmpty
from logflow.engine.stores import OtlpForm
from logflow.errors import MalformedData, PermanentError
from logflow.net.http_client import Answer, Transport
from logflow.outputs.http_store import GroupStoreConfig, HttpStore
from logflow.protobuf import LOGS_EXPORT, delimited, fields, signed
from logflow.templates.names import NameTemplate, Template, distinct_rows

_GRPC_BYTES = 2 << 20
"""Most packed bytes in a message, and in a chunk: receivers take 4 MiB unless told otherwise."""


class OtlpOutput(HttpStore):
    """Delivers over OTLP/HTTP or OTLP/gRPC."""

    groups = True
    isolates = True
    content_type = "application/x-protobuf"

    class Config(GroupStoreConfig):
        """Options of the output ``otlp``."""

        example: ClassVar[Mapping[str, Any]] = {"endpoints": ["http://127.0.0.1:4318"]}

        type: Literal["otlp"] = "otlp"
        protocol: Literal["http", "grpc"] = Field(
            "http",
            description="`http`: protocol buffers over HTTP/1.1; `grpc`: needs the extra `grpc`, and sends "
            "at most 2MiB of packed events at once unless `batch.max_bytes` and `buffer.chunk_limit` say so.",
        )
        resource: dict[NonEmpty, Template] = Field(
            {"service.name": "{tag}"},
            description="Attributes of the resource: each a template with `{tag}`, `{hostname}`, `{field}`.",
            examples=[{"service.name": "{service}", "k8s.pod.name": "{kubernetes.pod_name}"}],
        )
        scope: str = Field("logflow", description="Name of the instrumentation scope.")
        body_key: NonEmpty | None = Field("message", description="Field that is the body; `null`: none.")
        severity_key: NonEmpty | None = Field(
            "level", description="Field with the level, as text or a number of pino; `null`: none."
        )
        trace_id_key: NonEmpty | None = Field("trace_id", description="Field with 32 hexadecimal digits.")
        span_id_key: NonEmpty | None = Field("span_id", description="Field with 16 hexadecimal digits.")
        compress: Compression = Field("gzip", description="How messages are compressed.")

        @model_validator(mode="before")
        @classmethod
        def _bound_messages(cls, options: Any) -> Any:
            """Keep messages within what receivers of gRPC take, where nothing else was asked for."""
            if not isinstance(options, dict) or options.get("protocol") != "grpc":
                return options
            options = dict(options)
            for group, name in (("batch", "max_bytes"), ("buffer", "chunk_limit")):
                given = options.get(group, {})
                if isinstance(given, dict):
                    options[group] = {name: _GRPC_BYTES, **given}
            return options

        @model_validator(mode="after")
        def _check_grpc(self) -> OtlpOutput.Config:
            if self.protocol == "grpc":
                if any(URL(text).path_qs != "/" for text in self.endpoints):
                    raise ValueError(
                        "gRPC knows no paths; write endpoints as http://host:4317 or https://host:4317"
                    )
                if self.proxy not in ("environment", "none"):
                    raise ValueError(
                        "protocol grpc goes through no proxy; leave out proxy, or set protocol: http"
                    )
            return self

    config: OtlpOutput.Config

    def __init__(self, config: OtlpOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._resource = {name: NameTemplate(text, context.engine) for name, text in config.resource.items()}
        self._scope = delimited(1, delimited(1, config.scope.encode()))
        self._refused = context.counter("records_refused", "Records that the receiver refused by number.")

    def transport(self) -> Transport | None:
        """What carries the requests.

        Raises:
            ComponentError: the library of gRPC is missing.
        """
        if self.config.protocol == "http":
            return None
        module = extras.load("logflow.net.grpc.client", "grpc", f"output {self.context.name} (otlp)")
        transport: Transport = module.GrpcTransport(self.config, self.answer_bytes)
        return transport

    def path(self, chunks: Sequence[Chunk]) -> str:  # noqa: ARG002 - one place for all
        """Where logs are taken."""
        return "/v1/logs" if self.config.protocol == "http" else LOGS_EXPORT

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Write the records of all chunks, by their resources."""
        resources: dict[tuple[str, ...], list[bytes]] = {}
        for chunk in chunks:
            columns = [template.names(chunk.entries, chunk.tag) for template in self._resource.values()]
            found, which = distinct_rows(columns)
            for resource, records in zip(found, self._records(chunk, len(found), which), strict=True):
                resources.setdefault(resource, []).append(records)
        for resource, texts in resources.items():
            scope_logs = b"".join([self._scope, *texts])
            yield delimited(1, self._attributes(resource) + delimited(2, scope_logs))

    def _records(self, chunk: Chunk, groups: int, which: list[int] | None) -> list[bytes]:
        config, places = self.config, chunk.places
        form = OtlpForm(
            groups, which, config.body_key, config.severity_key, config.trace_id_key, config.span_id_key,
            f"{places.chunk.hex()}-".encode(), places.indices,
        )  # fmt: skip
        return self.context.engine.to_otlp(chunk.entries, form)

    def _attributes(self, resource: tuple[str, ...]) -> bytes:
        pairs = zip(self._resource, resource, strict=True)
        texts = (
            delimited(1, delimited(1, name.encode()) + delimited(2, delimited(1, text.encode())))
            for name, text in pairs
        )
        return delimited(1, b"".join(texts))

    def results(self, chunks: Sequence[Chunk], answer: Answer) -> Sequence[Exception | None]:
        """Say how many records were refused; which they are, the protocol does not tell."""
        try:
            refused, why = _partial_success(answer.body)
        except MalformedData:
            refused, why = 0, ""  # 200 is what the protocol asks for; a body is not
        total = sum(chunk.count for chunk in chunks)
        if refused >= total:
            raise PermanentError(f"{answer.endpoint} refused every record: {why or 'it does not say why'}")
        if refused > 0:
            self._refused(refused)
            self.context.log.warning(
                "Output %s: %s took a request and refused %d of its records: %s",
                self.context.name, answer.endpoint, refused, why or "it does not say why",
            )  # fmt: skip
        return [None] * len(chunks)


def _partial_success(body: bytes) -> tuple[int, str]:
    """Read ``ExportLogsServiceResponse``: in its field 1 are the number of refused records and a message."""
    refused, why = 0, ""
    for number, success in fields(memoryview(body)):
        if number == 1 and not isinstance(success, int):
            for inner, value in fields(success):
                if inner == 1 and isinstance(value, int):
                    refused = signed(value)
                elif inner == 2 and not isinstance(value, int):
                    why = bytes(value).decode("utf-8", "backslashreplace")
    return refused, " ".join("".join(c if c.isprintable() else " " for c in why).split())[:400]
