"""What tests of engines share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from logflow.component import Parser
from logflow.engine.api import Engine, LineParser

NOW_NS = 7
MakeLineParser = Callable[..., LineParser]


@pytest.fixture
def make_lines(engine: Engine, make_parser: Callable[..., Parser]) -> MakeLineParser:
    """``make_lines("cri", "json", max_line=100)``."""

    def make(line_format: Any, parser: Any = "json", **options: Any) -> LineParser:
        name, parser_options = parser if isinstance(parser, tuple) else (parser, {})
        return engine.line_parser(
            line_format, make_parser(name, **parser_options), **{"max_line": 1 << 20, **options}
        )

    return make
