"""A maker of parsers from their configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logflow import registry
from logflow.component import Parser
from logflow.testing import make_context


@pytest.fixture(scope="session")
def make_parser(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Parser]:
    """``make_parser("json", time_key="time")``."""
    context = make_context(Path(tmp_path_factory.mktemp("parsers")), engine="python")

    def make(name: str, **options: Any) -> Parser:
        component = registry.load("parser", name)
        parser = component(component.Config(type=name, **options), context)
        assert isinstance(parser, Parser)
        return parser

    return make
