"""The configuration as a whole: what stands at the top of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from logflow.component import ComponentConfig
from logflow.config.fields import (
    Address,
    Duration,
    ExpressionField,
    FilterField,
    OutputField,
    Size,
    SourceField,
    StepField,
    Use,
)
from logflow.config.options import Options, OutputConfig
from logflow.expressions import Expression
from logflow.memory import DEFAULT_LIMIT_BYTES
from logflow.patterns import compile_pattern

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)]
"""The name of a source or an output: letters, digits, ``_`` and ``-``."""


def _check_pattern(text: str) -> str:
    compile_pattern(text)
    return text


def _check_repeatable(expression: Expression) -> Expression:
    if "now" in expression.needs:
        raise ValueError(
            "now() cannot decide about a route: an event that is read again must go the same way as before"
        )
    return expression


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
    hosts: list[str] = Field(
        [],
        description="More names under which it may be asked for: IP addresses, `localhost` and the machine's "
        "own name always may.",
    )


class RouteOptions(Options):
    """Where events with a certain tag go."""

    match: Annotated[str, AfterValidator(_check_pattern)] = Field(
        description="Pattern of tags: `*` is one part, `**` any number of parts, `{a,b}` a choice."
    )
    where: Annotated[ExpressionField, AfterValidator(_check_repeatable)] | None = Field(
        None,
        description="Only events for which this is true; the others go on to the routes below. What it says "
        "about an event must not change, so `now()` cannot be used here.",
    )
    onward: bool = Field(
        default=False,
        alias="continue",
        description="A copy of the events, as they were before this route's filters, goes on to the routes "
        "below.",
    )
    filters: list[StepField] = Field(
        [], description="Changes and decisions, in this order; `{use: NAME}` inserts a named chain."
    )
    outputs: list[str] = Field(
        description="Names of outputs; each gets every event. An empty list drops them, counted."
    )


class Settings(Options):
    """A whole, validated configuration."""

    data_dir: Path = Field(
        Path("/var/lib/logflow"), description="Where positions, disk buffers and dead letters are kept."
    )
    engine: Literal["auto", "native", "python"] = Field(
        "auto", description="Hot-path implementation; `auto` is `native` where it was built, else `python`."
    )
    memory_limit: Size = Field(
        DEFAULT_LIMIT_BYTES, ge=16 << 20,
        description="Most memory for events on their way, beside what the process takes itself: memory "
        "buffers, and what sources receive. Where those ask for more together, sources get less.",
    )  # fmt: skip
    shutdown_timeout: Duration = Field(
        25.0, description="Longest time that a stop waits for buffers to be delivered."
    )
    log: LogOptions = Field(LogOptions(), description="logflow's own log, on stderr.")
    admin: AdminOptions = Field(AdminOptions(), description="Health, metrics and API.")
    include: list[str] = Field(
        [], description="More files, as globs relative to this file; this file wins over them."
    )
    filters: dict[Name, list[FilterField]] = Field(
        {}, description="Chains of filters by name, for `{use: NAME}` in routes and outputs."
    )
    sources: dict[Name, SourceField] = Field(min_length=1, description="Where events enter, by name.")
    routes: list[RouteOptions] = Field(
        min_length=1, description="Where events go, top to bottom; the first match wins."
    )
    unrouted: str = Field(
        "warn",
        description="What becomes of events that no route takes: `warn` drops them, counted, with a warning "
        "for each new tag; `error` holds them back, so that nothing of them is acknowledged; the name of an "
        "output sends them there.",
    )
    outputs: dict[Name, OutputField] = Field({}, description="Where chunks are delivered, by name.")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_anchors(cls, value: object) -> object:
        """Keys that begin with ``x-`` are the user's: a place for YAML anchors."""
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if not str(key).startswith("x-")}
        return value

    @model_validator(mode="after")
    def _check_claims(self) -> Settings:
        claimed: dict[str, str] = {}
        for name, output in self.outputs.items():
            claim = output.claim() if isinstance(output, OutputConfig) else None
            if claim is not None and (other := claimed.setdefault(claim, name)) != name:
                raise ValueError(f"the outputs {other} and {name} both write to {claim}; use two paths")
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Settings:
        if self.unrouted not in {"warn", "error", *self.outputs}:
            raise ValueError(f"unrouted: {self.unrouted!r} is not warn, error or the name of an output")
        return self

    def steps(self, filters: list[ComponentConfig]) -> list[ComponentConfig]:
        """The filters of a route or an output, those of named chains in their places."""
        steps: list[ComponentConfig] = []
        for step in filters:
            steps += self.filters[step.use] if isinstance(step, Use) else [step]
        return steps
