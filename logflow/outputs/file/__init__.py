"""Output ``file``: files whose paths follow tag, fields and time; every event in them exactly once.

The parts: :mod:`logflow.templates` says which path an event goes to,
:mod:`~logflow.outputs.file.render` makes a chunk into the bytes for each path,
:mod:`~logflow.outputs.file.writer` appends, rotates and recovers (and tells why nothing is lost or doubled),
:mod:`~logflow.outputs.file.whole` makes files that cannot be appended to,
:mod:`~logflow.outputs.file.journal` remembers what was committed,
:mod:`~logflow.outputs.file.retention` removes old files.

A chunk becomes one piece per file, and with compression one gzip member or zstd frame: such files can
be read by ``zcat`` and ``zstdcat`` at any time. Parquet ends in a footer: there a group of chunks becomes
one new file for each path.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ClassVar, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from logflow.batch import Chunk
from logflow.component import ConfigModel, Context, Output
from logflow.compression import Compression
from logflow.config.fields import Duration, Notation, Size, Timezone
from logflow.config.options import GroupOptions, ObjectOptions
from logflow.encoders import TextOptions
from logflow.errors import DeliveryError
from logflow.outputs.file.appending import AppendingWriter
from logflow.outputs.file.disk import Disk
from logflow.outputs.file.journal import FileJournal
from logflow.outputs.file.render import Renderer
from logflow.outputs.file.retention import Retention, RetentionLimits
from logflow.outputs.file.whole import Part, WholeOptions, WholeWriter
from logflow.outputs.file.writer import CACHED_BYTES, FileWriter, WriterOptions
from logflow.packing import unpack_entries
from logflow.parquet import ColumnTypes, ParquetWriter
from logflow.storage.fs import Fs
from logflow.templates import PathTemplate, Splitter

T = TypeVar("T")

_SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def _read_mode(value: object) -> int:
    if not re.fullmatch(r"0?[0-7]{3,4}", str(value)):
        raise ValueError(f"{value!r} is not a mode; write octal digits, such as '0640'")
    return int(str(value), 8)


Mode = Annotated[
    int,
    BeforeValidator(_read_mode),
    Notation("mode", "0640", {"type": ["string", "integer"], "pattern": "^0?[0-7]{3,4}$"}),
]


_SWEEP_S = 60.0
"""How often old files are looked for."""


class RetainConfig(ConfigModel):
    """Which files stay."""

    age: Duration | None = Field(
        None, gt=0, description="Remove files that were not written to for so long.", examples=["30d"]
    )
    size: Size | None = Field(
        None, gt=0, description="Most bytes of all files; above it the oldest go.", examples=["40GiB"]
    )

    @model_validator(mode="after")
    def _check_any(self) -> RetainConfig:
        if self.age is None and self.size is None:
            raise ValueError("retain is empty; set age, size or both")
        return self


def _check_path(text: str) -> str:
    PathTemplate(text)
    return text


class FileOutput(Output):
    """Appends to files, so that each event is in them exactly once."""

    keeps_state = True
    groups = True
    disk: ClassVar[Disk] = Disk()
    fs: ClassVar[Fs] = Fs()

    class Config(TextOptions):
        """Options of the output ``file``."""

        type: Literal["file"] = "file"
        path: Annotated[str, AfterValidator(_check_path)] = Field(
            description="Where events go: `{tag}`, `{tag[0]}`, `{hostname}`, `{field}`, and "
            "`%Y %m %d %j %H %M %S` of the event's time. Values never leave the directory.",
            examples=["/var/log/archive/{tag}/%Y-%m-%d.jsonl"],
        )
        format: Literal["ndjson", "msgpack", "raw", "ltsv", "csv", "parquet"] = Field(
            "ndjson",
            description="`raw` writes the message alone, `msgpack` the packed entries; `parquet` makes "
            "columns of fields, and a new file for each `batch`: an id and `.parquet` are added to its path.",
        )
        batch: ObjectOptions = Field(
            default_factory=ObjectOptions, description="How much goes into one file of Parquet."
        )
        compress: Compression = Field(
            "none", description="`.gz` or `.zst` is added to the path where it does not end so."
        )
        rotate_size: Size | None = Field(None, description="Rotate a file before it becomes larger.")
        rotate_every: Duration | None = Field(
            None,
            ge=1,
            description="Rotate a file when a new period of this length (from midnight, UTC) begins.",
        )
        keep: int | None = Field(None, ge=0, description="Rotated files that are kept; all unless set.")
        retain: RetainConfig | None = Field(
            None,
            description="Remove old files, rotated or not: only those that this output made while this was "
            "set, that nobody else changed, and that are not open. All are kept unless set.",
        )
        sync: Literal["batch", "never"] = Field(
            "batch",
            description="`batch`: delivered events survive a power cut, and only the last "
            f"{CACHED_BYTES >> 20}MiB of a file stay in the page cache; `never`: they survive `kill -9` "
            "only.",
        )
        file_mode: Mode | None = Field(
            None, description="Permissions of new files; 0640, as far as the umask allows, unless set."
        )
        directory_mode: Mode | None = Field(
            None, description="Permissions of new directories; 0750, as far as the umask allows, unless set."
        )
        timezone: Timezone = Field("UTC", description="Time zone of `path`, such as `Europe/Berlin`.")
        max_open_files: int = Field(256, ge=1, le=65536, description="Most files that are kept open.")
        idle_close: Duration = Field(60.0, gt=0, description="Close a file that was not written for so long.")

        def claim(self) -> str:
            """The files that this output alone may write to."""
            return os.path.abspath(self.path)  # noqa: PTH100 - no I/O, as resolve() does

        def grouping(self) -> GroupOptions:
            """Events gather for a file of Parquet; all others are appended to."""
            return self.batch if self.format == "parquet" else GroupOptions()

        @model_validator(mode="after")
        def _check_format(self) -> FileOutput.Config:
            if self.format != "parquet":
                if "batch" in self.model_fields_set:
                    raise ValueError("batch is for the format parquet; files of others are appended to")
                return self
            if self.compress != "none":
                raise ValueError("Parquet is compressed with zstd in itself; leave compress out")
            for name in ("rotate_size", "rotate_every", "keep", "max_open_files", "idle_close"):
                if name in self.model_fields_set:
                    raise ValueError(
                        f"{name} is for files that are appended to; batch says how large those of Parquet "
                        "are, and retain removes old ones"
                    )
            return self

        @model_validator(mode="after")
        def _check_keep(self) -> FileOutput.Config:
            if self.keep is not None and self.rotate_size is None and self.rotate_every is None:
                raise ValueError("keep counts rotated files; set rotate_size or rotate_every too")
            dated = PathTemplate(self.path).period_s or self.rotate_size or self.rotate_every
            if self.retain is not None and not dated and self.format != "parquet":
                raise ValueError(
                    "retain removes whole files; put the date into path, such as %Y-%m-%d, or rotate them"
                )
            return self

    config: FileOutput.Config

    def __init__(self, config: FileOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        suffix = ".parquet" if config.format == "parquet" else _SUFFIXES[config.compress]
        bare = config.path.removesuffix(suffix)
        self._journal = FileJournal(context.data_dir / "journal", self.fs, context.log)
        self._count_damage = context.counter("journal_damaged_bytes", "Bytes of damage found in the journal.")
        self.gathers = config.format == "parquet"
        self._template = PathTemplate(bare if self.gathers else bare + suffix, ZoneInfo(config.timezone))
        self._retention = self._make_retention(config.retain) if config.retain else None
        self._writer = self._whole_writer(suffix) if self.gathers else self._appending_writer()
        self._threads: ThreadPoolExecutor | None = None
        self._chores: list[asyncio.Task[None]] = []

    def _appending_writer(self) -> AppendingWriter:
        config, context = self.config, self.context
        options = WriterOptions(
            text=config.compress == "none" and config.format != "msgpack",
            durable=config.sync == "batch",
            rotate_bytes=config.rotate_size or 0,
            rotate_s=config.rotate_every or 0.0,
            keep=config.keep,
            max_open=config.max_open_files,
            idle_s=config.idle_close,
            file_mode=config.file_mode,
            directory_mode=config.directory_mode,
            root=self._template.root,
        )
        writer = FileWriter(
            self._journal, options, disk=self.disk, clock=context.clock, log=context.log,
            retention=self._retention,
        )  # fmt: skip
        encode = config.encoder(context.engine)
        return AppendingWriter(
            Renderer(self._template, encode, config.compress, context.engine), writer, self._journal,
            max_open=config.max_open_files, sized=bool(config.rotate_size),
        )  # fmt: skip

    def _whole_writer(self, suffix: str) -> WholeWriter:
        config, context, template = self.config, self.context, self._template
        types = ColumnTypes(context.data_dir / "columns.json")
        parquet = ParquetWriter(types, config, f"output {context.name} (file)")

        def encode(parts: Sequence[Part]) -> bytes:
            record = next(unpack_entries(parts[0].entries[0]))[1] if template.needs_record else {}
            place = template.render(parts[0].chunk.tag, 0, record)  # without its time: there types are kept
            return parquet.write(place, [(part.chunk, part.entries) for part in parts])

        options = WholeOptions(
            suffix, config.sync == "batch", config.file_mode, config.directory_mode, template.root
        )
        return WholeWriter(
            Splitter(template, context.engine), encode, self._journal, options, disk=self.disk,
            clock=context.clock, log=context.log, retention=self._retention,
        )  # fmt: skip

    def _make_retention(self, config: RetainConfig) -> Retention:
        counter = self.context.counter
        removed = (
            counter("files_removed", "Old files that were removed."),
            counter("bytes_removed", "Bytes of old files that were removed."),
        )
        return Retention(
            self.context.data_dir / "files", self._template.root, RetentionLimits(config.age, config.size),
            fs=self.fs, log=self.context.log, removed=removed,
        )  # fmt: skip

    async def open(self) -> None:
        """Recover what an earlier process left.

        Raises:
            ComponentError: the files' directory or the journal cannot be used.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.config.concurrency, thread_name_prefix="file")
        await self._in_thread(self._recover)
        if not self._chores:
            self._chores.append(asyncio.create_task(self._close_idle()))
            if self._retention:
                self._chores.append(asyncio.create_task(self._remove_old(self._retention)))

    async def write(self, chunk: Chunk) -> None:
        """Append a chunk, exactly once."""
        (answer,) = await self.write_group([chunk])
        if answer is not None:
            raise answer

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Append chunks, each exactly once: all in one thread, as any part may be large."""
        return await self._in_thread(lambda: self._writer.write(chunks))

    async def close(self) -> None:
        """Wait for what is under way, then close the files."""
        chores, self._chores = self._chores, []
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        if self._threads is not None:
            threads, self._threads = self._threads, None
            await asyncio.to_thread(threads.shutdown)
            await asyncio.to_thread(self._writer.close)
        self._journal.close()
        if self._retention:
            self._retention.close()

    def _recover(self) -> None:
        root = self._template.root
        try:
            self.disk.make_directories(str(root), self.config.directory_mode)
        except OSError as error:
            raise DeliveryError(
                f"cannot make the directory {root}: {error.strerror}; make it writable or change path"
            ) from error
        self._count_damage(self._journal.open())
        if self._retention:
            self._retention.open()
        self._writer.recover()

    async def _close_idle(self) -> None:
        while True:
            await self.context.clock.sleep(self.config.idle_close / 2)
            await self._in_thread(self._writer.close_idle)

    async def _remove_old(self, retention: Retention) -> None:
        while True:
            await self.context.clock.sleep(_SWEEP_S)
            await self._in_thread(lambda: retention.sweep(self.context.clock.time_ns(), self._writer))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
