"""What tests of engines share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from logflow import registry
from logflow.component import Parser
from logflow.engine.api import Engine, LineParser
from logflow.testing import make_context

NOW_NS = 7
MakeLineParser = Callable[..., LineParser]


@pytest.fixture(scope="session")
def make_parser(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Parser]:
    """``make_parser("json", time_key="time")``."""
    context = make_context(tmp_path_factory.mktemp("engine"), engine="python")

    def make(name: str, **options: Any) -> Parser:
        component = registry.load("parser", name)
        parser = component(component.Config(type=name, **options), context)
        assert isinstance(parser, Parser)
        return parser

    return make


@pytest.fixture
def make_lines(engine: Engine, make_parser: Callable[..., Parser]) -> MakeLineParser:
    """``make_lines("cri", "json", max_line=100)``."""

    def make(line_format: Any, parser: Any = "json", **options: Any) -> LineParser:
        name, parser_options = parser if isinstance(parser, tuple) else (parser, {})
        return engine.line_parser(
            line_format, make_parser(name, **parser_options), **{"max_line": 1 << 20, **options}
        )

    return make
