"""Lines that come through a pipe: options, counters and cutting for ``stdin`` and ``exec``."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Counter, Emit
from logflow.config.fields import NonEmpty, ParserField, Size, parse_size
from logflow.config.multiline import MultilineConfig, rules_of
from logflow.config.options import SourceConfig
from logflow.engine.api import Parsed
from logflow.sources.recoding import UTF8, Encoding, Recoder

_THREAD_BYTES = 64 * 1024
"""Blocks above this are parsed in a thread where the engine runs beside the event loop."""

_OVERHEAD_BYTES = 64 * 1024
"""What a line may have around a message of ``max_line`` bytes: the container's format, escapes."""


class LinesConfig(SourceConfig):
    """What sources of lines have in common."""

    tag: NonEmpty = Field(description="Tag of the events.")
    parse: ParserField = Field(
        {"type": "json"},
        description="Parser of the lines; a line that it does not match is kept as `message_key`.",
        validate_default=True,
    )
    max_line: Size = Field(
        parse_size("1MiB"), ge=64, description="Longest line; what is longer is cut there and marked."
    )
    message_key: NonEmpty = Field("message", description="Field of a line that did not parse.")
    multiline: MultilineConfig | None = Field(
        None, description="Join lines that are one event.", examples=[{"presets": ["java", "python"]}]
    )
    encoding: Encoding = Field(
        UTF8, description="Of the text: any that Python knows, such as `utf-16`, `latin-1` or `shift_jis`."
    )
    passthrough: bool = Field(
        default=False,
        description="Also write every line, as it is, where it would have gone without logflow.",
    )


class LineCounters:
    """What every source of lines counts."""

    def __init__(self, counter: Callable[[str, str], Counter]) -> None:
        self._lines = counter("lines_read", "Lines read.")
        self._bytes = counter("bytes_read", "Bytes of those lines.")
        self._unparsed = counter(
            "lines_unparsed", "Messages that the parser did not match; kept as they were."
        )
        self._malformed = counter("lines_malformed", "Lines not in the container format; kept whole.")
        self._truncated = counter("lines_truncated", "Messages that were cut at max_line.")

    def add(self, parsed: Parsed, size: int) -> None:
        """Count a block of ``size`` bytes."""
        self._lines(parsed.lines)
        self._bytes(size)
        self._unparsed(parsed.unparsed)
        self._malformed(parsed.malformed)
        self._truncated(parsed.truncated)


class LineFeed:
    """Cuts what comes through a pipe into whole lines, parses and emits them; memory is bounded."""

    def __init__(
        self,
        config: LinesConfig,
        context: Context,
        counters: LineCounters,
        *,
        line_format: Literal["plain", "cri", "docker"] = "plain",
        stream: str | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            config: options of the source.
            context: of the source.
            counters: of the source.
            line_format: how lines are wrapped.
            stream: value of the field ``stream``; ``None`` adds no such field to plain lines.
        """
        self._tag = config.tag
        self._context = context
        self._counters = counters
        self._limit = config.max_line + _OVERHEAD_BYTES
        self._rest = b""
        self._carry = b""
        self._begun = False
        """The first line was seen; only that may begin with a byte-order mark."""
        self._recoder = Recoder(config.encoding)
        self._encoding = config.encoding
        self._timeout_s = config.multiline.timeout if config.multiline else None
        self._fed_s = 0.0
        self._lines = context.engine.line_parser(
            line_format,
            context.parser(config.parse),
            max_line=config.max_line,
            stream=stream,
            message_key=config.message_key,
            multiline=rules_of(config.multiline),
        )

    async def feed(self, data: bytes, emit: Emit) -> None:
        """Emit the lines that ``data`` ends; what follows its last newline waits for the rest."""
        await self._feed(self._recoder.feed(data), emit)

    async def _feed(self, data: bytes, emit: Emit) -> None:
        self._fed_s = self._context.clock.monotonic()
        first = data.find(b"\n")
        if first < 0:
            self._rest += data[: self._limit - len(self._rest)]
            return
        last = data.rfind(b"\n") + 1
        block = memoryview(data)[:last]
        if self._rest or first > self._limit:
            block = memoryview(
                b"".join((self._rest, data[: min(first, self._limit - len(self._rest))], block[first:]))
            )
        self._rest = data[last : last + self._limit]
        if not self._begun and bytes(block[: len(BOM_UTF8)]) == BOM_UTF8:
            block = block[len(BOM_UTF8) :]
        self._begun = True
        now_ns = self._context.clock.time_ns()
        if self._context.engine.name == "native" and len(block) > _THREAD_BYTES:
            parsed = await asyncio.to_thread(self._lines.parse, block, self._carry, now_ns)
        else:
            parsed = self._lines.parse(block, self._carry, now_ns)
        self._carry = parsed.carry
        await self._emit(parsed, len(block), emit)

    @property
    def patience_s(self) -> float | None:
        """How long an event of several lines still waits for more; ``None`` if none does."""
        if self._timeout_s is None or not self._carry:
            return None
        return max(self._fed_s + self._timeout_s - self._context.clock.monotonic(), 0.0)

    async def flush_when_due(self, emit: Emit) -> None:
        """Emit an event of several lines that has waited for long enough."""
        if self.patience_s == 0:
            await self._flush(emit)

    async def _flush(self, emit: Emit) -> None:
        if self._carry:
            parsed = self._lines.flush(self._carry, self._context.clock.time_ns())
            self._carry = b""
            await self._emit(parsed, 0, emit)

    async def finish(self, emit: Emit) -> None:
        """There is no more: emit an unterminated line and open joins as they are."""
        await self._feed(self._recoder.feed(b"", final=True), emit)
        if self._rest:
            await self._feed(b"\n", emit)
        await self._flush(emit)

    def preview(self, data: bytes) -> list[Batch]:
        """Return what ``data`` and no more would give."""
        now_ns = self._context.clock.time_ns()
        data = Recoder(self._encoding).feed(data, final=True).removeprefix(BOM_UTF8)
        parsed = self._lines.parse(data if data.endswith(b"\n") else data + b"\n", b"", now_ns)
        rest = self._lines.flush(parsed.carry, now_ns)
        return [Batch(self._tag, parsed.entries + rest.entries, parsed.events + rest.events)]

    async def _emit(self, parsed: Parsed, size: int, emit: Emit) -> None:
        self._counters.add(parsed, size)
        if parsed.events:
            await emit(Batch(self._tag, parsed.entries, parsed.events))
