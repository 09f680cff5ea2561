"""The option ``multiline`` of sources of lines."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from logflow.config.fields import Duration, NonEmpty, Size, parse_size
from logflow.multiline import PRESETS, Multiline, custom, of_presets


class MultilineConfig(BaseModel):
    """Which lines are one event: by presets, or by patterns for its first, further and last lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: list[NonEmpty] = Field(
        [], description=f"Stack traces of languages, together: {', '.join(f'`{name}`' for name in PRESETS)}."
    )
    start: NonEmpty | None = Field(
        None,
        description="Pattern of an event's first line; unset: any line.",
        examples=[r"^\d{4}-\d\d-\d\d "],
    )
    continue_: NonEmpty | None = Field(
        None, alias="continue", description="Pattern of lines that go on with it; unset: all but first lines."
    )
    end: NonEmpty | None = Field(None, description="Pattern of an event's last line.")
    timeout: Duration = Field(
        2.0, gt=0, description="A line that comes later after the one before is not joined to it."
    )
    max_lines: int = Field(500, ge=2, le=100_000, description="Longer events are divided.")
    max_bytes: Size = Field(parse_size("256KiB"), ge=64, description="Larger events are divided.")

    @model_validator(mode="after")
    def _check(self) -> MultilineConfig:
        if self.presets and (self.start or self.continue_ or self.end):
            raise ValueError("set either presets, or start, continue and end")
        self.rules()
        return self

    def rules(self) -> Multiline:
        """Return what the engine joins lines by.

        Raises:
            ValueError: there is no such preset, no pattern, or one that cannot be used.
        """
        timeout_ns, max_lines, max_bytes = round(self.timeout * 1e9), self.max_lines, self.max_bytes
        if self.presets:
            multiline = of_presets(
                self.presets, timeout_ns=timeout_ns, max_lines=max_lines, max_bytes=max_bytes
            )
        else:
            multiline = custom(
                self.start, self.continue_, self.end,
                timeout_ns=timeout_ns, max_lines=max_lines, max_bytes=max_bytes,
            )  # fmt: skip
        multiline.native()  # reads the patterns
        return multiline


def rules_of(config: MultilineConfig | None) -> Multiline | None:
    """Return the rules of an option that may be unset."""
    return None if config is None else config.rules()
