"""The ``journald`` source: the journal of systemd, read by ``journalctl``.

::

    journalctl --output=json --follow --after-cursor=C ──► lines ──► engine ──► events
                                      ▲                                │
                                      └──── cursor of the last line that is safe

``journalctl`` knows every format of journal files there ever was. Its JSON is parsed by the engine like any
other lines: field names and values are as systemd has them (``_SYSTEMD_UNIT``, ``PRIORITY``, ``MESSAGE``);
its own ``__CURSOR`` and clocks are left out, and ``__REALTIME_TIMESTAMP`` is the event's time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import NonEmpty
from logflow.config.options import SourceConfig
from logflow.registry import load
from logflow.sources.progress import SavedProgress

_READ_BYTES = 256 << 10
_LINE_BYTES = 4 << 20
"""Longest entry; a longer one is cut."""
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 1.0, 60.0
_CURSOR = re.compile(rb'"__CURSOR"\s*:\s*"([^"]+)"')
_SEQUENCE = re.compile(r"(?:^|;)s=([0-9a-f]+);i=([0-9a-f]+)")
_CLOCKS = ("__CURSOR", "__MONOTONIC_TIMESTAMP", "__SEQNUM", "__SEQNUM_ID")
_STDERR_BYTES = 4096


class JournaldSource(Source):
    """Follows the journal."""

    class Config(SourceConfig):
        """Options of the source ``journald``."""

        type: Literal["journald"] = "journald"
        tag: NonEmpty = Field("journal", description="Tag of the events.")
        units: list[NonEmpty] = Field(
            [], description="Only these units, such as `ssh.service`; globs are allowed."
        )
        matches: list[NonEmpty] = Field(
            [], description="Only entries with these fields, such as `PRIORITY=3`."
        )
        directory: Path | None = Field(
            None, description="Where the journal lies; the system's own unless set."
        )
        read_from: Literal["beginning", "end"] = Field(
            "beginning", description="Where to begin when there is no position yet."
        )

    config: JournaldSource.Config
    keeps_state = True

    def __init__(self, config: JournaldSource.Config, context: Context) -> None:
        super().__init__(config, context)
        parser: dict[str, Any] = {
            "type": "json", "time_key": "__REALTIME_TIMESTAMP", "time_format": "unix_us",
        }  # fmt: skip
        self._lines = context.engine.line_parser(
            "plain", context.parser(load("parser", "json").Config(**parser)), max_line=_LINE_BYTES
        )
        self._clean = context.engine.modify([("remove", name, None) for name in _CLOCKS], {})
        self._cursor: str | None = None
        self._progress = SavedProgress[str](self._save)
        self._oversized = context.counter(
            "entries_too_large", "Entries that were cut, as they are too large."
        )
        self._gone = context.counter("entries_gone", "Entries that were removed before they were read.")

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:  # noqa: ARG002
        """Return what ``journalctl`` would give with this output."""
        return [self._parse(data if data.endswith(b"\n") else data + b"\n")]

    async def run(self, emit: Emit) -> None:
        """Follow the journal; ``journalctl`` is started again if it ends."""
        self._cursor = self.context.state.get("cursor")
        backoff_s = _FIRST_BACKOFF_S
        while True:
            began_s = self.context.clock.monotonic()
            why = await self._follow(emit)
            if self.context.clock.monotonic() - began_s > _LONGEST_BACKOFF_S:
                backoff_s = _FIRST_BACKOFF_S
            self.context.log.warning(
                "Source %s: journalctl ended (%s) and is started again in %.0f s.",
                self.context.name, why, backoff_s,
            )  # fmt: skip
            await self.context.clock.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def command(self) -> list[str]:
        """Return the command that goes on where we are."""
        config = self.config
        command = ["journalctl", "--output=json", "--all", "--follow", "--quiet", "--no-pager"]
        if config.directory is not None:
            command.append(f"--directory={config.directory}")
        command += [f"--unit={unit}" for unit in config.units]
        if self._cursor is not None:
            command += ["--no-tail", f"--after-cursor={self._cursor}"]
        else:
            command.append("--no-tail" if config.read_from == "beginning" else "--lines=0")
        return [*command, "--", *config.matches] if config.matches else command

    async def _follow(self, emit: Emit) -> str:
        """Run ``journalctl`` to its end; returns why it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command(), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, limit=_READ_BYTES,
            )  # fmt: skip
        except OSError as error:
            return f"it cannot be run: {error.strerror or error}"
        assert process.stdout is not None
        assert process.stderr is not None
        complaint = asyncio.create_task(_last_words(process.stderr))
        try:
            await self._read(process.stdout, emit)
            words = await complaint
            return " ".join(words.split()) or f"status {await process.wait()}"
        finally:
            complaint.cancel()
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _read(self, stream: asyncio.StreamReader, emit: Emit) -> None:
        rest = b""
        while True:
            await emit.ready(self.config.tag)
            data = await stream.read(_READ_BYTES)
            if not data:
                return
            end = data.rfind(b"\n") + 1
            if not end:
                if len(rest) <= _LINE_BYTES:
                    rest += data
                continue
            block, rest = rest + data[:end], data[end:]
            await self._hand_on(block, emit)

    async def _hand_on(self, block: bytes, emit: Emit) -> None:
        batch = self._parse(block)
        cursors = _CURSOR.findall(block)
        if cursors:
            self._note_gap(cursors[0].decode(errors="replace"))
            self._cursor = cursors[-1].decode(errors="replace")
        receipt = await emit(batch)
        if self._cursor is not None:
            self._progress.add(receipt, self._cursor)

    def _parse(self, block: bytes) -> Batch:
        parsed = self._lines.parse(block, b"", self.context.clock.time_ns())
        self._oversized(parsed.truncated)
        return Batch(self.config.tag, self._clean.apply(parsed.entries, self.config.tag), parsed.events)

    def _note_gap(self, cursor: str) -> None:
        """Say so if entries were removed before they were read: sequence numbers have no gaps otherwise."""
        before, now = _SEQUENCE.search(self._cursor or ""), _SEQUENCE.search(cursor)
        if not before or not now or before[1] != now[1] or self.config.units or self.config.matches:
            return
        gone = int(now[2], 16) - int(before[2], 16) - 1
        if gone > 0:
            self._gone(gone)
            self.context.log.warning(
                "Source %s: %d entries of the journal were removed before they were read.",
                self.context.name, gone,
            )  # fmt: skip

    def _save(self, cursor: str) -> None:
        self.context.state["cursor"] = cursor


async def _last_words(stream: asyncio.StreamReader) -> str:
    """Read all that ``journalctl`` complains of, and keep the end of it."""
    words = b""
    while data := await stream.read(_STDERR_BYTES):
        words = (words + data)[-_STDERR_BYTES:]
    return words.decode(errors="backslashreplace")[-200:]
