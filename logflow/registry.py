"""Component types by name. A module is imported only when a configuration names its type.

Third parties register through entry points: group ``logflow.outputs`` (``sources``, ``parsers``,
``filters``), name = the type, value = ``module:Class``. A built-in name cannot be taken over.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal, TypeAlias

from logflow.component import Component
from logflow.errors import ComponentError

Kind: TypeAlias = Literal["source", "parser", "filter", "output"]

_BUILT_IN: dict[Kind, dict[str, str]] = {
    "source": {
        "docker": "logflow.sources.docker:DockerSource",
        "elasticsearch_bulk": "logflow.sources.elasticsearch_bulk:ElasticsearchBulkSource",
        "exec": "logflow.sources.exec:ExecSource",
        "forward": "logflow.sources.forward:ForwardSource",
        "generate": "logflow.sources.generate:GenerateSource",
        "http": "logflow.sources.http:HttpSource",
        "kafka": "logflow.sources.kafka:KafkaSource",
        "loki_push": "logflow.sources.loki_push:LokiPushSource",
        "nats": "logflow.sources.nats:NatsSource",
        "journald": "logflow.sources.journald:JournaldSource",
        "otlp": "logflow.sources.otlp:OtlpSource",
        "splunk_hec": "logflow.sources.splunk_hec:SplunkHecSource",
        "stdin": "logflow.sources.stdin:StdinSource",
        "syslog": "logflow.sources.syslog:SyslogSource",
        "tail": "logflow.sources.tail:TailSource",
    },
    "parser": {
        "cri": "logflow.parsers.cri:CriParser",
        "csv": "logflow.parsers.csv:CsvParser",
        "docker": "logflow.parsers.docker:DockerParser",
        "grok": "logflow.parsers.grok:GrokParser",
        "json": "logflow.parsers.json:JsonParser",
        "logfmt": "logflow.parsers.logfmt:LogfmtParser",
        "ltsv": "logflow.parsers.ltsv:LtsvParser",
        "preset": "logflow.parsers.preset:PresetParser",
        "raw": "logflow.parsers.raw:RawParser",
        "regex": "logflow.parsers.regex:RegexParser",
    },
    "filter": {
        "dedupe": "logflow.filters.dedupe:DedupeFilter",
        "grep": "logflow.filters.grep:GrepFilter",
        "kubernetes": "logflow.filters.kubernetes:KubernetesFilter",
        "limit": "logflow.filters.limit:LimitFilter",
        "lookup": "logflow.filters.lookup:LookupFilter",
        "metrics": "logflow.filters.metrics:MetricsFilter",
        "modify": "logflow.filters.modify:ModifyFilter",
        "multiline": "logflow.stages.multiline:MultilineStage",
        "parse": "logflow.filters.parse:ParseFilter",
        "patterns": "logflow.filters.patterns:PatternsFilter",
        "redact": "logflow.filters.redact:RedactFilter",
        "sample": "logflow.filters.sample:SampleFilter",
        "schema": "logflow.filters.schema:SchemaFilter",
        "script": "logflow.filters.script:ScriptFilter",
        "select": "logflow.filters.select:SelectFilter",
        "set": "logflow.filters.set:SetFilter",
        "tag": "logflow.stages.tag:TagStage",
        "throttle": "logflow.filters.throttle:ThrottleFilter",
    },
    "output": {
        "clickhouse": "logflow.outputs.clickhouse:ClickhouseOutput",
        "datadog": "logflow.outputs.datadog:DatadogOutput",
        "elasticsearch": "logflow.outputs.elasticsearch:ElasticsearchOutput",
        "file": "logflow.outputs.file:FileOutput",
        "forward": "logflow.outputs.forward:ForwardOutput",
        "gelf": "logflow.outputs.gelf:GelfOutput",
        "http": "logflow.outputs.http:HttpOutput",
        "kafka": "logflow.outputs.kafka:KafkaOutput",
        "loki": "logflow.outputs.loki:LokiOutput",
        "nats": "logflow.outputs.nats:NatsOutput",
        "null": "logflow.outputs.null:NullOutput",
        "otlp": "logflow.outputs.otlp:OtlpOutput",
        "postgres": "logflow.outputs.postgres:PostgresOutput",
        "s3": "logflow.outputs.s3:S3Output",
        "splunk_hec": "logflow.outputs.splunk_hec:SplunkHecOutput",
        "stdout": "logflow.outputs.stdout:StdoutOutput",
        "syslog": "logflow.outputs.syslog:SyslogOutput",
    },
}

_FORMER_NAMES: dict[tuple[Kind, str], str] = {("filter", "python"): "script"}
"""Names that types had once, and that configurations may still use."""


@cache
def _plugins(kind: Kind) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"logflow.{kind}s")}


def names(kind: Kind) -> list[str]:
    """Every known type of a kind, sorted; nothing is imported."""
    return sorted({**_plugins(kind), **_BUILT_IN[kind]})


def built_in(kind: Kind) -> list[str]:
    """Every type of a kind that comes with logflow, sorted."""
    return sorted(_BUILT_IN[kind])


def load(kind: Kind, name: str) -> type[Component]:
    """Import and return the class of a component type.

    Raises:
        KeyError: there is no such type.
        ComponentError: a plugin's module cannot be imported or is not a component.
    """
    name = _FORMER_NAMES.get((kind, name), name)
    target = _BUILT_IN[kind].get(name) or _plugins(kind)[name]
    module, _, attribute = target.partition(":")
    try:
        component = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ComponentError(f"cannot load {kind} {name!r} from {target}: {error}") from error
    if not (isinstance(component, type) and issubclass(component, Component)):
        raise ComponentError(f"{kind} {name!r}: {target} is not a logflow component")
    return component
