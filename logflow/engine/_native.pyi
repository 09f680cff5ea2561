# The native engine, compiled from native/; absent where it was not built.
#
# What the functions mean stands in logflow.engine.api. logflow.engine._adapter calls them: parsers are
# described by Parser.native(), and results are plain tuples in the order of the named ones. They raise the
# exceptions of logflow.errors; Unsupported where only the Python engine will do.
#
# bytes are read in place, other buffers are copied. Work on more than a few KiB does not hold the GIL.

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from typing_extensions import Buffer

from logflow.engine.api import LineFormat

_Parsed: TypeAlias = tuple[bytes, int, int, bytes, int, int, int, int]
_Mode: TypeAlias = Literal["message", "forward", "packed", "other"]
_Frame: TypeAlias = tuple[bytes, _Mode, int, int, int, int, int]

__version__: str

class LineParser:
    def parse(self, block: Buffer, carry: bytes, now_ns: int) -> _Parsed: ...
    def flush(self, carry: bytes, now_ns: int) -> _Parsed: ...

class Regex:
    def found(self, text: str) -> bool: ...
    def fields(self, text: str) -> dict[str, str] | None: ...

class Grep:
    def apply(self, entries: Buffer) -> tuple[bytes, int]: ...

class Modify:
    def apply(self, entries: Buffer, tag: str) -> bytes: ...

def line_parser(
    format: LineFormat,  # noqa: A002 - the name in the interface
    parser: dict[str, Any],
    *,
    max_line: int,
    stream: str | None = None,
    message_key: str = "message",
) -> LineParser: ...
def normalize(data: Buffer) -> tuple[bytes, int]: ...
def count(entries: Buffer) -> int: ...
def offsets(entries: Buffer) -> list[int]: ...
def time_range(entries: Buffer) -> tuple[int, int]: ...
def to_ndjson(
    entries: Buffer, tag: str, time_key: str | None = "@timestamp", tag_key: str | None = "@tag"
) -> bytes: ...
def splice(entries: Buffer, fields: Mapping[str, Any]) -> bytes: ...
def regex(pattern: str) -> Regex: ...
def grep(
    keep: Sequence[tuple[str, str]], exclude: Sequence[tuple[str, str]], mode: Literal["and", "or"] = "and"
) -> Grep: ...
def modify(changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> Modify: ...
def scan_frames(data: Buffer, max_size: int) -> tuple[list[_Frame], int, int]: ...
