"""Check a configuration and say what it amounts to.

Exit status 0: it can be used, and a summary is on stdout. Exit status 2: every mistake is a line on
stderr with file, line, path and a hint. With --schema: print the JSON Schema of all configurations,
plugins included; no file is needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from logflow.cli.configuration import add_config_option, load_settings
from logflow.errors import ComponentError, ConfigError

if TYPE_CHECKING:
    from logflow.component import Component, ComponentConfig
    from logflow.config.models import RouteOptions, Settings
    from logflow.pipeline.build import Pipeline

_ANY_LENGTH = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser, required=False)
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema and exit")


def run(args: argparse.Namespace) -> int:
    """Check, or print the schema."""
    if args.schema:
        from logflow.config.schema import config_schema

        print(json.dumps(config_schema(), indent=2))
        return 0
    if not args.config:
        print("logflow check: -c FILE is missing", file=sys.stderr)
        return 2
    settings = load_settings(args)
    from logflow.pipeline.build import build

    try:
        pipeline = build(settings)
        lines = summary(settings, pipeline)
    except ComponentError as error:
        raise ConfigError([f"{args.config[0]}: {error}"]) from error
    named: list[tuple[str, Component]] = [
        (f"sources.{name}", source) for name, source in pipeline.sources.items()
    ]
    named += [(f"filter {step.context.name}", step) for step in pipeline.filters]
    for name, component in named:
        for caution in component.cautions():
            print(f"warning: {name}: {caution}", file=sys.stderr)
    print("ok", *lines, sep="\n")
    return 0


def summary(settings: Settings, pipeline: Pipeline) -> list[str]:
    """Say what a configuration amounts to, a line for each part."""
    from logflow.cli.version import engine_line

    lines = _titled("sources", [f"{name} ({config.type})" for name, config in settings.sources.items()])
    lines += _titled("routes", [_route(route) for route in settings.routes])
    lines += _titled("outputs", [_output(name, config) for name, config in settings.outputs.items()])
    lines += _titled("engine", [engine_line(settings.engine)])
    return lines + _titled("python", _left_to_python(pipeline))


def _left_to_python(pipeline: Pipeline) -> list[str]:
    """Say which parsers and patterns the native engine cannot express, and why."""
    from logflow.component import ComponentConfig
    from logflow.engine._adapter import NativeEngine

    engine = pipeline.engine
    if not isinstance(engine, NativeEngine):
        return []
    lines: list[str] = []

    def note(path: str, compile_it: Callable[[], object]) -> None:
        engine.fallbacks.clear()  # a reason is noted once, and may be that of several
        compile_it()
        lines.extend(f"{path}: {reason}" for reason in engine.fallbacks)

    for index, route in enumerate(pipeline.router.routes):
        for place, step in enumerate(route.filters):
            note(f"routes[{index}].filters[{place}]", partial(type(step), step.config, step.context))
    for name, source in pipeline.sources.items():
        parse = getattr(source.config, "parse", None)
        if isinstance(parse, ComponentConfig):
            # A source compiles its parser when it has something to read.
            parser = source.context.parser(parse)
            note(f"sources.{name}.parse", partial(engine.line_parser, "plain", parser, max_line=_ANY_LENGTH))
    return lines


def _titled(title: str, lines: list[str]) -> list[str]:
    return [f"  {title if index == 0 else '':<8} {line}" for index, line in enumerate(lines)]


def _route(route: RouteOptions) -> str:
    from logflow.config.fields import Use

    steps = [config.use if isinstance(config, Use) else config.type for config in route.filters]
    return " → ".join([route.match, *steps, ", ".join(route.outputs) or "dropped, on purpose"])


def _output(name: str, config: ComponentConfig) -> str:
    from logflow.config.options import OutputConfig

    buffer = f", {config.buffer.type} buffer" if isinstance(config, OutputConfig) else ""
    return f"{name} ({config.type}{buffer})"
