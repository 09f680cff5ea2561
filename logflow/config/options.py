"""Configuration that the host adds to every component of a kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from logflow.component import ComponentConfig, ConfigModel
from logflow.config.fields import Duration, ExpressionField, Size, StepField, parse_size

FilterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)]


class Options(ConfigModel):
    """The base of nested groups of options."""


_LIMITS = {"memory": 64 << 20, "disk": 1 << 30}
"""Most bytes that wait in a buffer, unless set."""

_LEAST = {"limit": 1024, "chunk_limit": 256}
"""Fewer bytes than these are a mistake."""


class BufferOptions(Options):
    """Where chunks wait for the output."""

    type: Literal["memory", "disk"] = Field(
        "memory", description="`memory`: waits in the process; `disk`: waits in files below `data_dir`."
    )
    limit: Size | None = Field(
        None, description="Most bytes that may wait; 64MiB in memory and 1GiB on disk unless set."
    )
    when_full: Literal["block", "drop_oldest", "drop_newest"] = Field(
        "block", description="`block` slows the sources; the others drop events, which are counted."
    )
    chunk_limit: Size = Field(parse_size("8MiB"), description="Most bytes that are put into one chunk.")
    flush_interval: Duration = Field(
        1.0, description="Longest time that events wait for a chunk to fill while the output is busy."
    )
    sync: Literal["batch", "interval", "never"] = Field(
        "batch",
        description="When a disk buffer syncs: before each receipt (in groups), every second, or never.",
    )
    dedup_window: Duration = Field(
        3600.0, description="How long the ids of accepted chunks are remembered, to recognise a resend."
    )

    @model_validator(mode="after")
    def _check_limits(self) -> BufferOptions:
        if "chunk_limit" in self.model_fields_set and self.chunk_limit > self.limit_bytes:
            raise ValueError(
                f"chunk_limit ({self.chunk_limit} bytes) is above limit ({self.limit_bytes} bytes); "
                "no chunk could become that large"
            )
        return self

    @property
    def limit_bytes(self) -> int:
        """The limit in force."""
        return self.limit if self.limit is not None else _LIMITS[self.type]


def _check_room(buffer: BufferOptions) -> BufferOptions:
    """Refuse sizes of which the unit was forgotten: they hold hardly an event."""
    for name, least in _LEAST.items():
        size = getattr(buffer, name)
        if size is not None and size < least:
            hint = f"write a unit, such as {size or 8}MiB"
            raise ValueError(f"{name} is {size} bytes, which hold hardly an event; {hint}")
    return buffer


class GroupOptions(Options):
    """How much an output delivers in one go, of however many tags."""

    max_bytes: Size = Field(
        parse_size("8MiB"), description="Most bytes of packed events in one request or write."
    )
    max_events: int = Field(100_000, ge=1, description="Most events in one request or write.")
    max_wait: Duration = Field(
        0.1,
        description="How long events wait for others while the output is busy, so that they are delivered "
        "together; after a quiet time they do not wait.",
    )


class ObjectOptions(GroupOptions):
    """How much goes into one object or file that is written as a whole."""

    max_bytes: Size = Field(parse_size("64MiB"), description="Most bytes of packed events in one object.")
    max_events: int = Field(1_000_000, ge=1, description="Most events in one object.")
    max_wait: Duration = Field(
        60.0, description="How long events gather in the buffer before they become an object."
    )


class RetryOptions(Options):
    """How a failed delivery is tried again."""

    initial: Duration = Field(1.0, description="Wait before the first retry.")
    factor: float = Field(2.0, ge=1.0, description="Each wait is this many times the one before.")
    max: Duration = Field(60.0, description="Longest wait.")
    jitter: float = Field(0.2, ge=0.0, le=1.0, description="Waits vary at random by this share.")
    give_up_after: Duration | None = Field(
        None, description="After this time a chunk goes to the dead letters; never unless set."
    )


class SourceConfig(ComponentConfig):
    """What every source may be given."""


class ParserConfig(ComponentConfig):
    """What every parser may be given."""


class FilterConfig(ComponentConfig):
    """What every filter may be given."""

    name: FilterName | None = Field(
        None, description="What logs, metrics and the ledger call it; the type unless set."
    )
    where: ExpressionField | None = Field(
        None, description="Only events for which this is true pass through the filter; the others go past it."
    )
    on_error: Literal["keep", "drop", "dead_letter"] = Field(
        "keep",
        description="What becomes of events for which the filter fails: `keep` lets them pass as they were.",
    )


class OutputConfig(ComponentConfig):
    """What every output may be given, besides its own options."""

    filters: list[StepField] = Field(
        [], description="Changes and decisions for this output alone, after those of the route."
    )

    buffer: Annotated[BufferOptions, AfterValidator(_check_room)] = Field(
        default_factory=BufferOptions, description="Where chunks wait."
    )
    retry: RetryOptions = Field(default_factory=RetryOptions, description="How failures are tried again.")
    dead_letter: bool = Field(
        default=True,
        description="Keep rejected and given-up chunks below `data_dir`; otherwise they are dropped.",
    )
    write_timeout: Duration = Field(60.0, description="Longest time that one delivery may take.")
    concurrency: int = Field(
        4, ge=1, le=256, description="Deliveries under way at once; events of one tag stay in order."
    )

    def claim(self) -> str | None:
        """Name what no other output may write to; nothing unless overridden."""
        return None

    def grouping(self) -> GroupOptions:
        """How much the output gets in one go, if it takes groups."""
        return GroupOptions()


class GroupOutputConfig(OutputConfig):
    """What outputs add that deliver chunks of several tags in one go and let the user say how many."""

    batch: GroupOptions = Field(
        default_factory=GroupOptions, description="How much is delivered in one go, whatever its tags."
    )

    def grouping(self) -> GroupOptions:
        """As much as the user says."""
        return self.batch
