"""What can be configured of the ``tail`` source."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from logflow.config.fields import Duration, NonEmpty, ParserField, Size, parse_size
from logflow.config.multiline import MultilineConfig
from logflow.config.options import SourceConfig
from logflow.sources.recoding import UTF8, Encoding, can_be_followed
from logflow.sources.tail.discovery import expand_braces
from logflow.sources.tail.tags import TagTemplate


class TailOptions(SourceConfig):
    """Log files to follow."""

    paths: list[NonEmpty] = Field(
        min_length=1,
        description="Globs of files to read: `*`, `?`, `[...]`, `{a,b}`, and `**` for any directories. "
        "Compressed files are read once and whole where a glob ends with `.gz` or `.zst`.",
    )
    exclude: list[NonEmpty] = Field(
        default_factory=list, description="Globs of files to leave out; without a slash: of their names."
    )
    follow_links: Literal["always", "within"] = Field(
        "always",
        description="`within`: leave out what links lead to outside of the directory that the path begins "
        "with, as whoever may write there could have any file read.",
    )
    format: Literal["auto", "cri", "docker", "plain"] = Field(
        "auto", description="How lines are wrapped; `auto` tells it from the first lines of each file."
    )
    parse: ParserField = Field(
        {"type": "json"},
        description="Parser of the messages; a message that it does not match is kept as `message_key`.",
        validate_default=True,
    )
    tag: NonEmpty = Field(
        description="Tag of the events; may hold `{namespace}`, `{pod}`, `{container}`, `{container_id}`, "
        "`{uid}`, `{restart}`, `{name}` and `{path}`, which come from the file's path."
    )
    read_from: Literal["beginning", "end"] = Field(
        "beginning",
        description="Where to begin with files that are there at the start and were never seen before; "
        "`beginning` reads a container's rotated files as well, compressed ones too.",
    )
    multiline: MultilineConfig | None = Field(
        None,
        description="Join lines that are one event, per stream.",
        examples=[{"presets": ["java", "python"]}],
    )
    max_line: Size = Field(
        parse_size("1MiB"), ge=64, description="Longest message; what is longer is cut there and marked."
    )
    message_key: NonEmpty = Field("message", description="Field of a message that did not parse.")
    stream: NonEmpty | None = Field(
        None, description="Value of the field `stream` for plain files, which have no such field unless set."
    )
    close_inactive: Duration | None = Field(
        300.0, description="A file that was not written to for so long is closed until it grows."
    )
    ignore_older: Duration | None = Field(
        None,
        description="Leave files alone that were last written to longer ago than this when they are first "
        "found; once they are written to again, they are read whole.",
    )
    encoding: Encoding = Field(
        UTF8,
        description="Of the text: any that Python knows and whose newline is the one of ASCII, such as "
        "`latin-1`, `shift_jis`, `euc_jp` or `gbk`; or `utf-16`, whose byte-order mark tells the order "
        "(`utf-16-le` without one), `utf-16-le`, `utf-16-be`.",
    )
    path_key: NonEmpty | None = Field(
        None, description="A field that takes the path of the file, as `paths` found it."
    )
    offset_key: NonEmpty | None = Field(
        None,
        description="A field that takes the byte offset at which the event's first line begins in the file; "
        "of a compressed file, in its content.",
    )
    idle_flush: Duration | None = Field(
        5.0,
        description="How long a message that is split into partial lines waits for its next part before it "
        "is delivered as it is, marked `unterminated: true`; `null`: for ever. A crashing container ends so.",
    )
    idle_flush_line: Duration | None = Field(
        30.0, description="The same for a last line without a newline; what comes later is a line of its own."
    )
    rotate_wait: Duration = Field(
        5.0, description="How long a rotated or deleted file is kept open after the last byte came."
    )
    scan_interval: Duration = Field(
        1.0,
        gt=0,
        description="How often the paths are searched; ten times less often while inotify tells all changes.",
    )
    inotify: bool = Field(
        default=True,
        description="Have the system tell of changes; `false` for network file systems, which do not.",
    )

    @field_validator("paths", "exclude")
    @classmethod
    def _check_braces(cls, value: list[str]) -> list[str]:
        for pattern in value:
            expand_braces(pattern)
        return value

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str) -> str:
        if not can_be_followed(value):
            raise ValueError(f"files in {value} cannot be followed: its newline is not that of ASCII")
        return value

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.offset_key is not None and self.offset_key == self.path_key:
            raise ValueError("path_key and offset_key are the same field")
        return self

    @field_validator("tag")
    @classmethod
    def _check_tag(cls, value: str) -> str:
        TagTemplate(value)
        return value
