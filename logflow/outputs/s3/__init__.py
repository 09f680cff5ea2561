"""Output ``s3``: objects in a bucket whose keys follow tag, fields and time; every event in them once.

The parts: :mod:`logflow.templates` says which place an event goes to, :mod:`~logflow.outputs.s3.slots`
remembers what is in which object (and tells why nothing is lost or doubled), and
:mod:`~logflow.outputs.s3.store` puts it there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.compression import Compression, compress_stream
from logflow.config.fields import Timezone
from logflow.config.options import GroupOutputConfig, ObjectOptions
from logflow.encoders import EventKeys, encoder
from logflow.errors import DeliveryError
from logflow.outputs.s3.slots import Slot, Slots
from logflow.outputs.s3.store import Bucket, BucketConfig, NotTold
from logflow.packing import unpack_entries
from logflow.parquet import ColumnTypes, ParquetWriter
from logflow.storage.fs import Fs
from logflow.templates import PathTemplate, Splitter

_SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_PUTS = 8
"""Most objects that are made at once."""
_ROUNDS = 4
"""How often the chunks of a call are given to slots: a slot that turns out to hold others frees them."""


def _check_key(text: str) -> str:
    PathTemplate(f"/{text}")
    if text.startswith("/"):
        raise ValueError("a key does not begin with a slash")
    return text


@dataclass(frozen=True)
class _Part:
    """A chunk's events of one place."""

    chunk: Chunk
    place: str
    entries: Sequence[bytes]


class S3Output(Output):
    """Puts objects, each made of parts of many chunks."""

    keeps_state = True
    groups = True
    gathers = True
    fs: ClassVar[Fs] = Fs()

    class Config(GroupOutputConfig, BucketConfig, EventKeys):
        """Options of the output ``s3``."""

        type: Literal["s3"] = "s3"
        key: Annotated[str, AfterValidator(_check_key)] = Field(
            "{tag}/%Y/%m/%d/%H",
            description="Where objects go: `{tag}`, `{tag[0]}`, `{hostname}`, `{field}`, and "
            "`%Y %m %d %j %H %M %S` of the event's time. An id and a suffix such as `.jsonl.gz` are added.",
        )
        timezone: Timezone = Field("UTC", description="Time zone of `key`, such as `Europe/Berlin`.")
        format: Literal["ndjson", "parquet"] = Field(
            "ndjson", description="`ndjson` is JSON Lines; `parquet` makes columns of fields."
        )
        compress: Compression = Field(
            "zstd", description="How JSON Lines are compressed; Parquet has zstd in itself."
        )
        batch: ObjectOptions = Field(
            default_factory=ObjectOptions, description="How much goes into one object."
        )

        @model_validator(mode="after")
        def _check_compress(self) -> S3Output.Config:
            if self.format == "parquet" and self.compress != "zstd":
                raise ValueError("Parquet is compressed with zstd; leave compress out")
            return self

    config: S3Output.Config

    def __init__(self, config: S3Output.Config, context: Context) -> None:
        super().__init__(config, context)
        self._bucket = Bucket(config, context.name)
        self._template = PathTemplate(f"/{config.key}", ZoneInfo(config.timezone))
        self._splitter = Splitter(self._template, context.engine)
        self._encode = encoder("ndjson", context.engine, time_key=config.time_key, tag_key=config.tag_key)
        self._parquet: ParquetWriter | None = None
        self._suffix, self._content_type = f".jsonl{_SUFFIXES[config.compress]}", "application/x-ndjson"
        if config.format == "parquet":
            types = ColumnTypes(context.data_dir / "columns.json")
            self._parquet = ParquetWriter(types, config, f"output {context.name} (s3)")
            self._suffix, self._content_type = ".parquet", "application/vnd.apache.parquet"
        self._slots = Slots(context.data_dir / "objects", self.fs, context.log)
        self._count_damage = context.counter("journal_damaged_bytes", "Bytes of damage found in the journal.")
        self._puts = asyncio.Semaphore(_PUTS)

    async def open(self) -> None:
        """Read what an earlier process left undecided, and files of credentials."""
        self._bucket.open()
        self._count_damage(await asyncio.to_thread(self._slots.open))

    async def close(self) -> None:
        """Close the journal."""
        self._slots.close()

    async def write(self, chunk: Chunk) -> None:
        """Put a chunk into objects of its own."""
        (answer,) = await self.write_group([chunk])
        if answer is not None:
            raise answer

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Put chunks into one object for each place; each chunk fails or not by itself."""
        parts, failed = await asyncio.to_thread(self._split, chunks)
        for _ in range(_ROUNDS):
            parts = [part for part in parts if not self._slots.is_stored(part.chunk.id, part.place)]
            if not parts:
                break
            outcomes = await asyncio.gather(*(self._fill_in_turn(*each) for each in self._assign(parts)))
            for error, of_object in outcomes:
                if error is not None:
                    failed |= {part.chunk.id: error for part in of_object}
            parts = [part for part in parts if part.chunk.id not in failed]
        for part in parts:
            if not self._slots.is_stored(part.chunk.id, part.place):
                failed[part.chunk.id] = DeliveryError("its objects hold something else; it gets new ones")
        return [failed.get(chunk.id) for chunk in chunks]

    def _split(self, chunks: Sequence[Chunk]) -> tuple[list[_Part], dict[bytes, Exception]]:
        parts: list[_Part] = []
        failed: dict[bytes, Exception] = {}
        for chunk in chunks:
            try:
                for path, entries in self._splitter.parts(chunk).items():
                    parts.append(_Part(chunk, path.lstrip("/"), entries))
            except Exception as error:
                failed[chunk.id] = error
        return parts, failed

    def _assign(self, parts: Sequence[_Part]) -> list[tuple[Slot, list[_Part]]]:
        """Give parts to objects: to those that they may be in already, otherwise to a new one for a place."""
        new: defaultdict[str, list[_Part]] = defaultdict(list)
        old: defaultdict[Slot, list[_Part]] = defaultdict(list)
        for part in parts:
            slot = self._slots.open_slot(part.chunk.id, part.place)
            if slot is None:
                new[part.place].append(part)
            else:
                old[slot].append(part)
        return [
            *old.items(),
            *((self._new_slot(place, of_place), of_place) for place, of_place in new.items()),
        ]

    def _new_slot(self, place: str, parts: Sequence[_Part]) -> Slot:
        ids = [part.chunk.id for part in parts]
        return Slot(f"{place}-{_digest(ids, place)}{self._suffix}", place)

    async def _fill_in_turn(self, slot: Slot, parts: list[_Part]) -> tuple[Exception | None, Sequence[_Part]]:
        try:
            async with slot.turn, self._puts:
                # Whoever had the turn before may have found out where they are.
                mine = [p for p in parts if self._slots.open_slot(p.chunk.id, p.place) in (slot, None)]
                mine = [p for p in mine if not self._slots.is_stored(p.chunk.id, p.place)]
                if mine and (not slot.attempts or self._slots.taken(slot.key)):
                    await self._fill(slot, mine)
        except Exception as error:
            return error, parts
        return None, parts

    async def _fill(self, slot: Slot, parts: Sequence[_Part]) -> None:
        """Make the slot's object, or find out what it holds."""
        ids = [part.chunk.id for part in parts]
        attempt = _digest(ids, slot.place)
        if slot.attempts and await self._is_decided(slot):
            return
        body = await asyncio.to_thread(self._body, parts)
        await asyncio.to_thread(self._slots.note_try, slot, attempt, ids)
        if await self._bucket.put(slot.key, body, attempt, self._content_type):
            self._slots.note_stored(slot, attempt)
        else:
            await self._find_out(slot)

    async def _is_decided(self, slot: Slot) -> bool:
        """Ask before a further attempt: not every store heeds the condition."""
        try:
            attempt = await self._bucket.attempt_in(slot.key)
        except DeliveryError:
            if not self.config.conditional:
                raise
            return False  # whoever may not ask learns it from the put
        if attempt is not None:
            self._decide(slot, attempt)
        elif not self.config.conditional:
            self._slots.note_stored(slot, "")
        return attempt is not None or not self.config.conditional

    async def _find_out(self, slot: Slot) -> None:
        """There is an object: ask what it holds."""
        try:
            attempt = await self._bucket.attempt_in(slot.key)
        except NotTold:
            attempt = ""
        if attempt is not None:
            self._decide(slot, attempt)

    def _decide(self, slot: Slot, attempt: str) -> None:
        if not attempt and len(slot.attempts) == 1:  # nobody but us writes there
            attempt = next(iter(slot.attempts))
        self._slots.note_stored(slot, attempt)

    def _body(self, parts: Sequence[_Part]) -> bytes:
        if self._parquet is not None:
            return self._parquet.write(self._prefix(parts[0]), [(part.chunk, part.entries) for part in parts])
        slices = (piece for part in parts for piece in self._encode(part.entries, part.chunk.tag))
        return b"".join(compress_stream(slices, self.config.compress))

    def _prefix(self, part: _Part) -> str:
        """The place without its time: there columns keep their types."""
        record = next(unpack_entries(part.entries[0]))[1] if self._template.needs_record else {}
        return self._template.render(part.chunk.tag, 0, record)


def _digest(chunk_ids: Sequence[bytes], place: str) -> str:
    """Name what is made of these chunks."""
    text = b"".join([*sorted(chunk_ids), place.encode()])
    return hashlib.blake2b(text, digest_size=12).hexdigest()
