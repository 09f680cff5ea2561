"""Components that exist for these tests only, so that the loader is tested on its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from pydantic import Field, field_validator

from logflow import registry
from logflow.batch import Batch, Chunk
from logflow.component import Emit, Filter, Output, Source
from logflow.config.fields import Address, ParserField, Size
from logflow.config.loader import Loaded, load
from logflow.config.options import FilterConfig, Options, OutputConfig, SourceConfig
from logflow.config.secrets import StaticSecret
from logflow.errors import ConfigError


class Server(Options):
    address: Address = Field(description="Where it listens.")
    weight: int = Field(60, ge=0, le=1000, description="Its share.")


class Tls(Options):
    ca_file: Path = Field(description="Whom to trust.")


class Sink(Output):
    """An output with every kind of value."""

    class Config(OutputConfig):
        type: Literal["sink"]
        servers: list[Server] = Field([], description="Where to send.")
        shared_key: StaticSecret | None = Field(None, description="A secret.")
        headers: dict[str, str] = Field({}, description="Sent along.")
        tls: bool | Tls = Field(default=False, description="Whether, or how, to encrypt.")
        labels: str | list[str] = Field("", description="One or several.")
        note: str = Field("", description="Any text.")
        compress: Literal["none", "gzip", "zstd"] = Field("none", description="How to compress.")
        ratio: float = Field(1.0, gt=0, description="A number.")

        @field_validator("note")
        @classmethod
        def _no_blanks(cls, value: str) -> str:
            if " " in value:
                raise ValueError(f"{value.split(maxsplit=1)[0]!r} is followed by a blank; write one word")
            return value

    async def write(self, chunk: Chunk) -> None:
        pass


class Feed(Source):
    """A source with a parser and a size."""

    class Config(SourceConfig):
        type: Literal["feed"]
        parse: ParserField | None = Field(None, description="The parser.")
        max_line: Size = Field(1 << 20, description="Longest line.")

    async def run(self, emit: Emit) -> None:
        pass


class Keep(Filter):
    """A filter that keeps everything."""

    class Config(FilterConfig):
        type: Literal["keep"]

    def apply(self, batch: Batch) -> Batch | None:
        return batch


@pytest.fixture(autouse=True)
def components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the components of this file."""
    module = ModuleType("components_for_tests")
    for kind, name, component in (
        ("output", "sink", Sink),
        ("source", "feed", Feed),
        ("filter", "keep", Keep),
    ):
        setattr(module, component.__name__, component)
        target = f"components_for_tests:{component.__name__}"
        monkeypatch.setitem(registry._BUILT_IN[kind], name, target)
    monkeypatch.setitem(sys.modules, "components_for_tests", module)


VALID = """
sources:
  in: {type: feed}
routes:
  - {match: "**", outputs: [out]}
"""
"""What every configuration of these tests needs besides the output ``out``."""


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    """Load one text, by default with a source and a route to ``out`` put before it."""
    monkeypatch.chdir(tmp_path)

    def load_one(text: str, *, whole: bool = False, **env: str) -> Loaded:
        Path("agent.yaml").write_text(text)
        Path("valid.yaml").write_text(VALID)
        paths = ["agent.yaml"] if whole else ["agent.yaml", "valid.yaml"]
        return load([Path(path) for path in paths], env)

    return load_one


@pytest.fixture
def problems_of(load_text: Callable[..., Loaded]) -> Callable[..., list[str]]:
    """Load one text, which must fail, and return the lines."""

    def problems(text: str, *, whole: bool = False, **env: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, whole=whole, **env)
        return caught.value.problems

    return problems
