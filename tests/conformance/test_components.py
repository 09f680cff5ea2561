"""Every registered component keeps its contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web

from logflow import registry
from logflow.errors import ComponentError
from logflow.testing import conformance, make_context
from logflow.testing.forwarding import scripted_server
from logflow.testing.processes import free_ports

PARSERS: dict[str, dict[str, Any]] = {
    "cri": {},
    "csv": {"columns": ["a", "b"]},
    "docker": {},
    "grok": {"pattern": "%{WORD:a} %{GREEDYDATA:b}"},
    "json": {},
    "logfmt": {},
    "ltsv": {},
    "preset": {"name": "nginx"},
    "raw": {},
    "regex": {"pattern": r"^(?P<a>\w+) (?P<b>.*)$"},
}
FILTERS: dict[str, dict[str, Any]] = {
    "dedupe": {"fields": ["message"]},
    "grep": {"keep": {"message": "."}},
    "kubernetes": {},
    "lookup": {"key": "message", "fields": {"team": "team"}},
    "metrics": {"metrics": {"events": {"labels": {"level": "level"}}, "n": {"kind": "gauge", "value": "n"}}},
    "modify": {"set": {"host": "{hostname}"}, "rename": {"message": "text"}},
    "multiline": {"presets": ["java", "python"]},
    "parse": {"field": "message", "parser": {"type": "json"}},
    "patterns": {},
    "schema": {"inline": {"required": ["message"]}},
    "script": {},
    "limit": {"field_bytes": 3, "fields": 4},
    "redact": {"detectors": ["email"], "patterns": {"word": "l+o"}},
    "sample": {"rate": 0.5, "always": "n == 1"},
    "select": {"keep": "len(message) > 0 or n == 1"},
    "set": {"fields": {"size": "len(message)", "nested.b": "n + 1"}},
    "tag": {"tag": "f'app.{level}'"},
    "throttle": {"events": 2, "key": "level"},
}


KINDS: tuple[registry.Kind, ...] = ("source", "parser", "filter", "output")


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in registry.built_in(kind)]
)
def test_options_are_a_model_inside_the_class(kind: registry.Kind, name: str) -> None:
    """Every component shows newcomers the same way to say what can be configured."""
    component = registry.load(kind, name)
    assert "Config" in vars(component)
    assert component.Config.__qualname__ == f"{component.__name__}.Config"


@pytest.mark.parametrize("name", registry.built_in("parser"))
def test_parser(name: str, tmp_path: Path) -> None:
    """Each parser keeps the contract of parsers."""
    conformance.check_parser({"type": name, **PARSERS[name]}, tmp_path)


@pytest.mark.parametrize("name", registry.built_in("filter"))
async def test_filter(name: str, tmp_path: Path) -> None:
    """Each filter keeps the contract of filters."""
    config = {"type": name, **FILTERS[name]}
    if name == "lookup":
        (tmp_path / "hosts.csv").write_text("host,team\nplain,red\n")
        config["file"] = str(tmp_path / "hosts.csv")
    if name == "script":
        module = tmp_path / "mine.py"
        module.write_text("def keep(record):\n    return record if record else None\n")
        config["path"] = f"{module}:keep"
    await conformance.check_filter(config, tmp_path)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The smallest configuration of each source."""
    forward_port, http_port, syslog_port = free_ports(3)
    return {
        "docker": {"socket": str(tmp_path / "none.sock")},
        "elasticsearch_bulk": {"listen": "127.0.0.1:0"},
        "loki_push": {"listen": "127.0.0.1:0"},
        "otlp": {"listen": "127.0.0.1:0"},
        "splunk_hec": {"listen": "127.0.0.1:0"},
        "exec": {"command": ["sleep", "30"], "tag": "app"},
        "forward": {"listen": f"127.0.0.1:{forward_port}"},
        "generate": {"tag": "app", "rate": 10},
        "http": {"listen": f"127.0.0.1:{http_port}"},
        "journald": {},
        "stdin": {"tag": "app"},
        "syslog": {"listen": f"127.0.0.1:{syslog_port}"},
        "tail": {"paths": [str(tmp_path / "*.log")], "tag": "app"},
    }


@pytest.mark.parametrize("name", registry.built_in("source"))
async def test_source(name: str, tmp_path: Path, sources: dict[str, dict[str, Any]]) -> None:
    """Each source keeps the contract of sources."""
    if name in STORE_SOURCES:
        pytest.skip("see test_source_of_a_store")
    await conformance.check_source({"type": name, **sources[name]}, tmp_path)


@pytest.fixture
async def outputs(tmp_path: Path) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """The smallest configuration of each output, with a destination that takes what it is sent."""
    (http_port,) = free_ports(1)

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    async def bulk(_: web.Request) -> web.Response:
        return web.json_response({"errors": False, "items": []})

    app = web.Application()
    app.router.add_post("/logs", take)
    app.router.add_post("/{path:(|loki/.*|v1/.*|api/v2/.*|services/.*)}", take)
    app.router.add_post("/_bulk", bulk)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", http_port).start()
    store = f"http://127.0.0.1:{http_port}"
    async with scripted_server() as server:
        yield {
            "clickhouse": {"endpoints": [store]},
            "datadog": {"endpoints": [store], "api_key": "key"},
            "elasticsearch": {"endpoints": [store]},
            "file": {"path": str(tmp_path / "out" / "{tag}.jsonl")},
            "forward": {"servers": [{"address": f"127.0.0.1:{server.port}"}]},
            "gelf": {"endpoints": [f"{store}/logs"]},
            "http": {"endpoints": [f"http://127.0.0.1:{http_port}/logs"]},
            "loki": {"endpoints": [store]},
            "null": {},
            "otlp": {"endpoints": [store]},
            "splunk_hec": {"endpoints": [store], "token": "token"},
            "stdout": {},
        }
    await runner.cleanup()


@pytest.mark.parametrize("name", registry.built_in("output"))
async def test_output(name: str, tmp_path: Path, outputs: dict[str, dict[str, Any]]) -> None:
    """Each output keeps the contract of outputs."""
    if name in STORES:
        pytest.skip("see test_output_to_a_store")
    await conformance.check_output({"type": name, **outputs[name]}, tmp_path)


STORES = {
    "kafka": {"servers": ["127.0.0.1:9092"], "topic": "logs"},
    "nats": {"servers": ["nats://127.0.0.1:9"], "subject": "logs"},
    "postgres": {"address": "127.0.0.1:5432", "database": "logs"},
    "s3": {"bucket": "logs"},
    "syslog": {"address": "127.0.0.1:9"},
}
"""Outputs whose servers tests/stores has: there they are delivered to."""


@pytest.mark.parametrize("name", STORES)
async def test_output_to_a_store(name: str, tmp_path: Path) -> None:
    """Each keeps the contract as far as it goes without its server."""
    config = conformance.check_config("output", {"type": name, **STORES[name]})
    try:
        output = registry.load("output", name)(config, make_context(tmp_path, kind="output"))
    except ComponentError as error:
        assert "pip install 'logflow-pipeline[" in str(error)  # noqa: PT017 - the library is not here
        return
    await output.close()
    await output.close()


STORE_SOURCES: dict[str, dict[str, Any]] = {
    "kafka": {"servers": ["127.0.0.1:9092"], "topics": ["logs"]},
    "nats": {"servers": ["nats://127.0.0.1:9"], "stream": "logs"},
}


@pytest.mark.parametrize("name", STORE_SOURCES)
async def test_source_of_a_store(name: str, tmp_path: Path) -> None:
    """Each keeps the contract as far as it goes without its server."""
    try:
        await conformance.check_source({"type": name, **STORE_SOURCES[name]}, tmp_path)
    except ComponentError as error:
        assert "pip install 'logflow-pipeline[" in str(error)  # noqa: PT017 - the library is not here


PLUGINS = [
    (kind, name) for kind in get_args(registry.Kind) for name in registry.names(kind)
    if name not in registry.built_in(kind)
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
async def test_plugin(kind: registry.Kind, name: str, tmp_path: Path) -> None:
    """Each plug-in that is installed keeps the contract, configured as the example on its class says.

    Outputs are not delivered to: nobody listens where the example leads.
    """
    config = {"type": name, **registry.load(kind, name).Config.example}
    match kind:
        case "source":
            await conformance.check_source(config, tmp_path)
        case "parser":
            conformance.check_parser(config, tmp_path)
        case "filter":
            await conformance.check_filter(config, tmp_path)
        case "output":
            conformance.check_config(kind, config)


def test_every_kind_is_covered(sources: dict[str, Any], outputs: dict[str, Any]) -> None:
    """A component that is registered has a configuration here."""
    assert set(registry.built_in("parser")) == set(PARSERS)
    assert set(registry.built_in("filter")) == set(FILTERS)
    assert set(registry.built_in("source")) == {*sources, *STORE_SOURCES}
    assert set(registry.built_in("output")) == {*outputs, *STORES}
