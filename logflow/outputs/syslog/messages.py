r"""Messages of RFC 5424, and what says how events become messages.

::

    MSG-LEN SP <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [ID name="value" ...] MSG
    └ TCP ──┘

MSG is UTF-8 without a byte order mark, as most servers would show it.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field, field_validator, model_validator

from logflow.batch import Chunk
from logflow.component import Context
from logflow.config.fields import Address, Duration, ExpressionField, Size, parse_size
from logflow.config.options import GroupOutputConfig, OutputConfig
from logflow.config.tls import ClientTls
from logflow.encoders import text_of
from logflow.event import NANOSECOND, EventTime
from logflow.packing import unpack_entries

_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # fmt: skip
_SEVERITIES = {
    "emerg": 0, "emergency": 0, "panic": 0, "alert": 1, "crit": 2, "critical": 2, "fatal": 2, "error": 3,
    "err": 3, "warning": 4, "warn": 4, "notice": 5, "info": 6, "informational": 6, "debug": 7, "trace": 7,
}  # fmt: skip
_INFO = 6
_NOT_PRINTABLE = re.compile(r"[^!-~]")
_NOT_IN_NAMES = re.compile(r'[^!-~]|[=\]"]')
_ESCAPED = re.compile(r'(["\\\]])')
_NAME_LETTERS = 32
_decode = msgspec.msgpack.decode


class SyslogOptions(GroupOutputConfig, OutputConfig):
    """Options of the output ``syslog``."""

    example: ClassVar[Mapping[str, Any]] = {"address": "127.0.0.1:514"}

    type: Literal["syslog"] = "syslog"
    address: Address = Field(description="Host and port of the server.", examples=["logs:6514"])
    protocol: Literal["tcp", "udp"] = Field("tcp", description="`tcp` with octet counting, or `udp`.")
    tls: ClientTls | None = Field(None, description="Encrypt; verified unless told otherwise.")
    facility: str = Field("local0", description=f"One of {', '.join(_FACILITIES)}.")
    severity: ExpressionField = Field(
        "level",
        validate_default=True,
        description="A word such as `error`, or a number from 0 to 7; `info` if it is neither.",
    )
    hostname: ExpressionField = Field(
        "host", validate_default=True, description="HOSTNAME; this machine's if it is None."
    )
    app_name: ExpressionField = Field("tag()", validate_default=True, description="APP-NAME, or `-`.")
    proc_id: ExpressionField = Field("pid", validate_default=True, description="PROCID, or `-`.")
    msg_id: ExpressionField = Field("None", validate_default=True, description="MSGID, or `-`.")
    message: ExpressionField = Field(
        "message", validate_default=True, description="MSG; the whole record as JSON if it is None."
    )
    structured_data: dict[str, list[ExpressionField]] = Field(
        {},
        description="Structured data: for each id, such as `meta@32473`, the fields in it.",
        examples=[{"meta@32473": ["kubernetes.pod_name", "trace_id"]}],
    )
    max_message: Size = Field(
        parse_size("64KiB"), ge=480, description="Longest message; MSG is cut at a character beyond it."
    )
    connect_timeout: Duration = Field(10.0, gt=0, description="Longest time until a connection is made.")

    @field_validator("facility")
    @classmethod
    def _check_facility(cls, name: str) -> str:
        if name not in _FACILITIES:
            raise ValueError(f"{name!r} is not a facility; write one such as local0 or daemon")
        return name

    @model_validator(mode="after")
    def _check(self) -> SyslogOptions:
        if self.tls is not None and self.protocol == "udp":
            raise ValueError("tls needs protocol: tcp")
        for name in self.structured_data:
            if not name or len(name) > _NAME_LETTERS or _NOT_IN_NAMES.search(name):
                raise ValueError(f"{name!r} is not an id of structured data; write one such as meta@32473")
        return self


class Messages:
    """Makes messages, without their frame. Pure; may be used in a thread."""

    def __init__(self, config: SyslogOptions, context: Context) -> None:
        engine = context.engine
        self._facility = _FACILITIES.index(config.facility) * 8
        self._limit = config.max_message
        self._engine = engine
        self._clock = context.clock
        self._here = _header(socket.gethostname(), 255)
        parts = (
            config.severity,
            config.hostname,
            config.app_name,
            config.proc_id,
            config.msg_id,
            config.message,
        )
        self._header = [engine.computation(part) for part in parts]
        self._data = [
            (name, [(_name(field.text), engine.computation(field)) for field in fields])
            for name, fields in config.structured_data.items()
        ]

    def of(self, chunk: Chunk) -> Iterator[bytes]:
        """The messages of a chunk, in order."""
        for entries in chunk.parts:
            yield from self._messages(entries, chunk.tag)

    def _messages(self, entries: bytes, tag: str) -> Iterator[bytes]:
        now_ns = self._clock.time_ns()
        columns = [part.values(entries, tag, None, now_ns) for part in self._header]
        data = self._structured_data(entries, tag, now_ns)
        lines = self._engine.to_ndjson(entries, tag, None, None).splitlines()
        times = (moment for moment, _ in unpack_entries(entries))
        for moment, line, *packed in zip(times, lines, *columns, strict=True):
            severity, host, app, process, msg_id, message = map(_decode, packed)
            text = line if message is None else text_of(message).encode("utf-8", "backslashreplace")
            head = (
                f"<{self._facility + _severity(severity)}>1 {_time(moment)} "
                f"{self._here if host is None else _header(text_of(host), 255)} {_cell(app, 48)} "
                f"{_cell(process, 128)} {_cell(msg_id, 32)} {next(data)} "
            ).encode("utf-8", "backslashreplace")
            yield self._cut(head, text)

    def _cut(self, head: bytes, text: bytes) -> bytes:
        room = max(0, self._limit - len(head))
        if len(text) > room:
            text = text[:room].decode("utf-8", "ignore").encode()
        return head + text

    def _structured_data(self, entries: bytes, tag: str, now_ns: int) -> Iterator[str]:
        """The structured data of each event; a value that is None is left out."""
        columns = [
            [(name, computation.values(entries, tag, None, now_ns)) for name, computation in fields]
            for _, fields in self._data
        ]
        index = 0
        while True:
            found = []
            for (name, _), fields in zip(self._data, columns, strict=True):
                params = [
                    f' {param}="{_escaped(value)}"'
                    for param, values in fields
                    if index < len(values) and (value := _decode(values[index])) is not None
                ]
                if params:
                    found.append(f"[{name}{''.join(params)}]")
            yield "".join(found) or "-"
            index += 1


def _severity(value: object) -> int:
    match value:
        case str():
            return _SEVERITIES.get(value.lower(), _INFO)
        case int() if 0 <= value <= 7 and not isinstance(value, bool):
            return value
    return _INFO


def _time(moment: EventTime) -> str:
    """RFC 3339 with microseconds, the most that RFC 5424 allows."""
    seconds, nanoseconds = divmod(int(moment), NANOSECOND)
    return f"{_second(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _cell(value: object, letters: int) -> str:
    return "-" if value is None else _header(text_of(value), letters)


@lru_cache(maxsize=4096)
def _header(text: str, letters: int) -> str:
    """A part of the header: printable ASCII without blanks, of bounded length."""
    return _NOT_PRINTABLE.sub("_", text)[:letters] or "-"


def _name(field: str) -> str:
    """The name of a parameter that has the value of a field."""
    return _NOT_IN_NAMES.sub("_", field)[:_NAME_LETTERS]


def _escaped(value: object) -> str:
    return _ESCAPED.sub(r"\\\1", text_of(value))
