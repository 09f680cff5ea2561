r"""Filter ``patterns``: finds the templates of messages as they come, and says which one each is of.

What was found is kept in a file, so that templates keep their ids over a restart::

    logflow patterns 1\n  xxh3 of the rest (8 bytes)  msgpack [[id, [word, ...]], ...]    used last at the end
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Literal

import msgspec
import xxhash
from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Counter, Filter
from logflow.config.fields import ExpressionField, FieldName
from logflow.config.options import FilterConfig
from logflow.engine.keyed import Miner
from logflow.expressions import compile_expression
from logflow.packing import pack_value

_MAGIC = b"logflow patterns 1\n"
_SAVE_S = 60.0
_MOST_BYTES = 64 << 20

_decode = msgspec.msgpack.Decoder(list[tuple[int, list[bytes]]]).decode
_encode = msgspec.msgpack.Encoder().encode


class PatternsFilter(Filter):
    """Learns from each message and marks it; see ``Engine.miner``."""

    one_to_one = True
    keeps_state = True

    class Config(FilterConfig):
        """Options of the filter ``patterns``."""

        type: Literal["patterns"] = "patterns"
        message: ExpressionField = Field(
            default_factory=lambda: compile_expression("message"), description="What is looked at; text."
        )
        id_field: FieldName | None = Field(
            "pattern_id", description="Field for the id of the template: 16 hexadecimal digits."
        )
        pattern_field: FieldName | None = Field(
            "pattern", description="Field for the template, in which `<*>` stands for what differs."
        )
        similarity: float = Field(
            0.5, gt=0.0, le=1.0, description="Which part of its words a message must share with a template."
        )
        max_patterns: int = Field(
            1000, ge=1, le=10_000,
            description="How many templates are known. Beyond that, the one that was not seen for the "
            "longest time is forgotten; this is counted.",
        )  # fmt: skip

        @model_validator(mode="after")
        def _check_fields(self) -> PatternsFilter.Config:
            if self.id_field is None and self.pattern_field is None:
                raise ValueError("set id_field, pattern_field or both")
            return self

    def __init__(self, config: PatternsFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._fields = [field for field in (config.id_field, config.pattern_field) if field is not None]
        self._placement = context.engine.placement(self._fields)
        key = ("patterns", context.name, config.message.text, config.similarity, config.max_patterns)
        self._mined: _Mined = context.keep(key, self._make)
        self._found = context.counter("patterns_found", "Templates of messages that were found.")
        self._forgotten = context.counter(
            "patterns_forgotten", "Templates that were forgotten, as there were max_patterns."
        )
        self._saving: asyncio.Task[None] | None = None

    def _make(self) -> _Mined:
        config = self.config
        miner = self.context.engine.miner(config.message, config.max_patterns, config.similarity)
        return _Mined(miner, self.context.data_dir / "patterns")

    async def open(self) -> None:
        """Read what was found before."""
        try:
            damage = await asyncio.to_thread(self._mined.load)
        except OSError as error:
            damage = error.strerror or str(error)
        if damage is not None:
            self.context.log.warning(
                "The patterns in %s cannot be used (%s); they are found anew.", self._mined.path, damage
            )
        self._saving = asyncio.get_running_loop().create_task(self._save_now_and_then())

    async def close(self) -> None:
        """Keep what was found."""
        if self._saving is None:
            return
        self._saving.cancel()
        await asyncio.gather(self._saving, return_exceptions=True)
        self._saving = None
        await self._save()

    def apply(self, batch: Batch) -> Batch:
        """Mark every event that has a message."""
        source, clock = batch.attributes.get("source"), self.context.clock
        ids, templates = self._mined.miner.apply(batch.entries, batch.tag, source, clock.time_ns())
        self._mined.count(self._found, self._forgotten)
        if len(templates) == 1:  # no event has a message
            return batch
        values = [[b""] * len(self._fields)]
        values += [self._values(number, text) for number, text in templates[1:]]
        return batch.with_entries(self._placement.apply(batch.entries, ids, values), batch.count)

    def _values(self, number: int, text: bytes) -> list[bytes]:
        values = []
        if self.config.id_field is not None:
            values.append(pack_value(f"{number:016x}"))
        if self.config.pattern_field is not None:
            values.append(pack_value(text.decode()))
        return values

    async def _save_now_and_then(self) -> None:
        while True:
            await self.context.clock.sleep(_SAVE_S)
            await self._save()

    async def _save(self) -> None:
        try:
            await asyncio.to_thread(self._mined.save)
        except OSError as error:
            self.context.log.warning(
                "The patterns cannot be kept in %s: %s.", self._mined.path, error.strerror
            )


class _Mined:
    """What was found, in memory and in a file; lives over a reload."""

    def __init__(self, miner: Miner, path: Path) -> None:
        self.miner = miner
        self.path = path
        self._loaded = False
        self._saved: bytes | None = None
        self._counted = (0, 0)

    def load(self) -> str | None:
        """Read the file once; returns what is wrong with it. A damaged one is set aside."""
        if self._loaded:
            return None
        self._loaded = True
        try:
            with self.path.open("rb") as file:
                data = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return None
        body = data[len(_MAGIC) + 8 :]
        try:
            if data[: len(data) - len(body)] != _head(body):
                raise ValueError("it is damaged")
            self.miner.load(_decode(body))
        except (ValueError, RecursionError) as error:
            self.path.replace(self.path.with_suffix(".damaged"))
            return str(error)
        self._counted = self.miner.counts()
        return None

    def save(self) -> None:
        """Write the file if something has changed, in the place of the old one."""
        body = _encode(self.miner.dump())
        if body == self._saved:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(_head(body) + body)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        self._saved = body

    def count(self, found: Counter, forgotten: Counter) -> None:
        """Add to the counters what is new."""
        counts = self.miner.counts()
        if counts != self._counted:
            found(counts[0] - self._counted[0])
            forgotten(counts[1] - self._counted[1])
            self._counted = counts


def _head(body: bytes) -> bytes:
    return _MAGIC + xxhash.xxh3_64_digest(body)
