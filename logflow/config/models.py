"""The configuration as a whole: what stands at the top of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from logflow.config.fields import Address, Duration, FilterField, OutputField, SourceField
from logflow.config.options import Options
from logflow.patterns import compile_pattern

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)]
"""The name of a source or an output: letters, digits, ``_`` and ``-``."""


def _check_pattern(text: str) -> str:
    compile_pattern(text)
    return text


class LogOptions(Options):
    """logflow's own log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level to write.")
    format: Literal["text", "json"] = Field(
        "text", description="`text`: a line for people; `json`: an object a line, for collectors."
    )


class AdminOptions(Options):
    """The endpoint for health, metrics and the API."""

    listen: Address | None = Field(
        ("127.0.0.1", 24220), description="Where to listen for HTTP; `null` listens nowhere."
    )


class Route(Options):
    """Where events with a certain tag go."""

    match: Annotated[str, AfterValidator(_check_pattern)] = Field(
        description="Pattern of tags: `*` is one part, `**` any number of parts, `{a,b}` a choice."
    )
    filters: list[FilterField] = Field([], description="Changes and decisions, in this order.")
    outputs: list[str] = Field(
        description="Names of outputs; each gets every event. An empty list drops them, counted."
    )


class Settings(Options):
    """A whole, validated configuration."""

    data_dir: Path = Field(
        Path("/var/lib/logflow"), description="Where positions, disk buffers and dead letters are kept."
    )
    workers: int = Field(1, ge=1, le=64, description="Operating-system processes that share the work.")
    engine: Literal["auto", "native", "python"] = Field(
        "auto", description="Hot-path implementation; `auto` is `native` where it was built, else `python`."
    )
    shutdown_timeout: Duration = Field(
        25.0, description="Longest time that a stop waits for buffers to be delivered."
    )
    log: LogOptions = Field(LogOptions(), description="logflow's own log, on stderr.")
    admin: AdminOptions = Field(AdminOptions(), description="Health, metrics and API.")
    include: list[str] = Field(
        [], description="More files, as globs relative to this file; what stands in this file wins."
    )
    sources: dict[Name, SourceField] = Field(min_length=1, description="Where events enter, by name.")
    routes: list[Route] = Field(
        min_length=1, description="Where events go, top to bottom; the first match wins."
    )
    outputs: dict[Name, OutputField] = Field({}, description="Where chunks are delivered, by name.")
