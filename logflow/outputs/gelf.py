"""Output ``gelf``: messages to Graylog's GELF input over HTTP, in bulk.

::

    {"version":"1.1","host":...,"short_message":...,"timestamp":1700000000.123,"level":6,"_field":...}
    one on each line: the input must have "Enable Bulk Receiving"

A field's name gets ``_`` in front, and ``_`` for each character that GELF has not; ``id``, which is
forbidden, becomes ``_id_``. Values are text and numbers: anything else is written as JSON. Delivery is at
least once. Source: "GELF Payload Specification", version 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from logflow.batch import Chunk
from logflow.component import Context
from logflow.compression import Compression
from logflow.config.fields import NonEmpty
from logflow.encoders import text_of
from logflow.event import NANOSECOND, EventTime
from logflow.outputs.http_store import GroupStoreConfig, HttpStore
from logflow.templates.names import NameTemplate, Template

_ODD = re.compile(r"[^\w.-]")
_LEVELS = {
    "emergency": 0, "emerg": 0, "panic": 0, "alert": 1, "critical": 2, "crit": 2, "fatal": 2, "error": 3,
    "err": 3,
    "warning": 4, "warn": 4, "notice": 5, "info": 6, "information": 6, "debug": 7, "trace": 7,
}  # fmt: skip
_LARGEST = 1 << 63
_encode = msgspec.json.Encoder().encode


class GelfOutput(HttpStore):
    """Delivers to Graylog."""

    groups = True
    isolates = True

    class Config(GroupStoreConfig):
        """Options of the output ``gelf``."""

        example: ClassVar[Mapping[str, Any]] = {"endpoints": ["http://127.0.0.1:12201/gelf"]}

        type: Literal["gelf"] = "gelf"
        host: Template = Field("{hostname}", description="Host: a template with `{tag}`, `{field}`.")
        message_key: NonEmpty = Field(
            "message", description="Field that is the message; a record without it is its JSON."
        )
        level_key: NonEmpty = Field(
            "level", description="Field with the level, as text or as syslog's number."
        )
        compress: Compression = Field("gzip", description="Content-Encoding of the body.")

    config: GelfOutput.Config

    def __init__(self, config: GelfOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._host = NameTemplate(config.host, context.engine)

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Write a message for each event."""
        for chunk in chunks:
            hosts, which = self._host.names(chunk.entries, chunk.tag)
            messages = (
                self._message(time, record, hosts[0 if which is None else which[index]], chunk.tag)
                for index, (time, record) in enumerate(chunk.events())
            )
            yield b"".join(_encode(message) + b"\n" for message in messages)

    def _message(self, time: int, record: Mapping[Any, Any], host: str, tag: str) -> dict[str, Any]:
        text = text_of(record.get(self.config.message_key)) or text_of(dict(record))
        message: dict[str, Any] = {
            "version": "1.1", "host": host, "short_message": text,
            "timestamp": round(time / NANOSECOND, 6), "_tag": tag,
        }  # fmt: skip
        for key, value in record.items():
            if key == self.config.message_key or value is None:
                continue
            if key == self.config.level_key and (level := _level(value)) is not None:
                message["level"] = level
            message[_name(text_of(key))] = _value(value)
        return message


@lru_cache(maxsize=4096)
def _name(key: str) -> str:
    name = _ODD.sub("_", key)
    return "_id_" if name == "id" else f"_{name}"


def _value(value: object) -> str | int | float:
    match value:
        case bool():
            return "true" if value else "false"
        case EventTime():
            return value.isoformat()
        case int() if abs(value) < _LARGEST:
            return int(value)
        case float() if value == value and abs(value) != float("inf"):  # noqa: PLR0124 - NaN is not itself
            return value
    return text_of(value)


def _level(value: object) -> int | None:
    match value:
        case int() if 0 <= value <= 7 and not isinstance(value, bool):
            return int(value)
        case str():
            return _LEVELS.get(value.lower())
    return None
