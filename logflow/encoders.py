r"""Encoders: how events look outside, for outputs to files, to terminals and over HTTP.

``ndjson``   one JSON object per line: time, tag, then the record's fields (JSON Lines)
``json``     one JSON array of these objects
``msgpack``  the packed entries as they are: ``[EventTime, record]``, one after the other
``raw``      the message alone, one per line; a record without one is written as its JSON
``ltsv``     ``label:value`` separated by tabs; in values ``\\ \t \n \r`` are escaped with a backslash
             (in both, other control characters as ``\xNN``: what reads them may be a terminal)
``csv``      the chosen columns (RFC 4180, with ``\n``); no header, as files are appended to and rotated

``ndjson``, ``json`` and ``msgpack`` are the engine's work; the others decode every event.

A chunk is encoded slice by slice, so that one slice can be written while the next one is made, and while
it still lies in the processor's cache. An encoder knows nothing of where the slices go.
"""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec.msgpack import Ext
from pydantic import Field, model_validator

from logflow.config.fields import NonEmpty
from logflow.config.options import OutputConfig
from logflow.engine.api import Engine
from logflow.event import EventTime, Record
from logflow.packing import pack_entry, to_text, unpack_entries

Format: TypeAlias = Literal["ndjson", "json", "msgpack", "raw", "ltsv", "csv"]
Encoder: TypeAlias = Callable[[Sequence[bytes], str], Iterator[bytes]]
"""Turns (a chunk's parts, its tag) into slices, to be walked over once; joined they are its text."""

_SLICE_BYTES = 256 * 1024
"""Parts are put together to slices of about this size, so that small ones do not cost a call each."""

CONTENT_TYPES: dict[Format, str] = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "msgpack": "application/msgpack",
    "raw": "text/plain; charset=utf-8",
    "ltsv": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}

_NOT_IN_LABELS = re.compile(r"[^0-9A-Za-z_.@-]")
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class EventKeys(OutputConfig):
    """Options of outputs that write an event as one object: where its time and its tag stand in it."""

    time_key: NonEmpty | None = Field(
        "@timestamp",
        description="Field for the time, RFC 3339 in UTC with nanoseconds, where the record has no such "
        "field itself; `null`: none.",
    )
    tag_key: NonEmpty | None = Field(
        "@tag", description="Field for the tag, where the record has no such field itself; `null`: none."
    )


class TextOptions(EventKeys):
    """Options of outputs that also offer text formats; each output narrows the choice of formats."""

    format: Format | Literal["parquet"] = "ndjson"
    message_key: NonEmpty = Field("message", description="Field that the format `raw` writes.")
    columns: list[NonEmpty] = Field([], description="Fields that the format `csv` writes, in order.")

    @model_validator(mode="after")
    def _check_columns(self) -> TextOptions:
        if (self.format == "csv") != bool(self.columns):
            raise ValueError("columns belong to the format csv, and it needs them")
        return self

    def encoder(self, engine: Engine) -> Encoder:
        """Build the encoder that these options describe."""
        assert self.format != "parquet"  # is not made event by event
        return encoder(
            self.format,
            engine,
            time_key=self.time_key,
            tag_key=self.tag_key,
            message_key=self.message_key,
            columns=self.columns,
        )


def encoder(
    name: Format,
    engine: Engine,
    *,
    time_key: str | None = "@timestamp",
    tag_key: str | None = "@tag",
    message_key: str = "message",
    columns: Sequence[str] = (),
) -> Encoder:
    """Build an encoder; it is safe to call from several threads.

    Args:
        name: the format.
        engine: does the work where it can.
        time_key: field for the event's time; None: none. Not used by ``msgpack`` and ``raw``.
        tag_key: field for the tag; None: none. Not used by ``msgpack`` and ``raw``.
        message_key: the field that ``raw`` writes.
        columns: the fields that ``csv`` writes.
    """

    def ndjson(entries: bytes, tag: str) -> bytes:
        return engine.to_ndjson(entries, tag, time_key, tag_key)

    def raw(entries: bytes, _tag: str) -> bytes:
        return b"".join(_messages(entries, message_key, engine))

    def ltsv(entries: bytes, tag: str) -> bytes:
        return "".join(map(_ltsv_line, _rows(entries, tag, time_key, tag_key))).encode()

    def csv_(entries: bytes, tag: str) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for row in _rows(entries, tag, time_key, tag_key):
            writer.writerow([text_of(row.get(column)) for column in columns])
        return text.getvalue().encode()

    def array(parts: Sequence[bytes], tag: str) -> Iterator[bytes]:
        before = b"["
        for entries in _gathered(parts):
            # A newline in NDJSON is always the end of an object.
            yield before + ndjson(entries, tag).rstrip(b"\n").replace(b"\n", b",\n")
            before = b",\n"
        yield b"]\n"

    if name == "json":
        return array
    table: dict[Format, Callable[[bytes, str], bytes]] = {
        "ndjson": ndjson, "msgpack": lambda entries, _tag: entries, "raw": raw, "ltsv": ltsv, "csv": csv_,
    }  # fmt: skip
    encode = table[name]
    return lambda parts, tag: (encode(entries, tag) for entries in _gathered(parts))


def _gathered(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Join small neighbours."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        if waiting and size + len(part) > _SLICE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(part)
        size += len(part)
    if waiting:
        yield b"".join(waiting)


def _text_within(value: object) -> str:
    """The text of what JSON has no form for, within other values."""
    return base64.b64encode(value.data).decode() if isinstance(value, Ext) else str(value)


def text_of(value: object) -> str:
    """The text of a field: strings as they are, nothing for ``None``, all else as compact JSON.

    What JSON has no form for (a map whose keys are maps) is written as Python writes it.
    """
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case None:
            return ""
        case bytes():
            return to_text(value)
        case EventTime():
            return value.isoformat()
        case Ext():
            return base64.b64encode(value.data).decode()
        case _:
            try:
                return msgspec.json.encode(value, enc_hook=_text_within).decode()
            except (TypeError, ValueError):
                return str(value)


def _rows(entries: bytes, tag: str, time_key: str | None, tag_key: str | None) -> Iterator[Record]:
    """Yield records with time and tag in front, unless they have such fields themselves."""
    for time, record in unpack_entries(entries):
        head: Record = {}
        if time_key is not None and time_key != tag_key and time_key not in record:
            head[time_key] = time
        if tag_key is not None and tag_key not in record:
            head[tag_key] = tag
        yield head | record


def _ltsv_line(row: Record) -> str:
    fields = (
        f"{_NOT_IN_LABELS.sub('_', text_of(key))}:{text_of(value).translate(_ESCAPES)}"
        for key, value in row.items()
    )
    return visible("\t".join(fields)) + "\n"


def visible(text: str) -> str:
    """Escape control characters, which could tell a terminal to do things, except for tabs and newlines."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _messages(entries: bytes, key: str, engine: Engine) -> Iterator[bytes]:
    for time, record in unpack_entries(entries):
        if record.get(key) is None:
            yield engine.to_ndjson(pack_entry(time, record), "", None, None)
        else:
            yield visible(text_of(record[key])).encode() + b"\n"
