r"""Parser ``docker``: one line of Docker's json-file driver, for the filter ``parse``.

Files of such lines are better read with the source's ``format: docker``, which joins partial lines::

    {"log": "hello\n", "stream": "stdout", "attrs": {...}, "time": "2026-01-31T12:00:00.123456789Z"}
      └ without \n at its end: partial      └ optional, any value
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from logflow.component import Parse, Parser
from logflow.config.options import ParserConfig
from logflow.event import EventTime, Record
from logflow.jsontext import decode_object
from logflow.timestamps import parse_rfc3339


class DockerLine(NamedTuple):
    """The parts of one line."""

    time_ns: int
    stream: str
    partial: bool
    content: bytes
    r"""Without the ``\n`` or ``\r\n`` that ends a whole line."""
    extra: Record
    """``{"attrs": ...}``, or nothing."""


def split_docker(line: bytes) -> DockerLine | None:
    """Take a line apart; ``None`` when it is not of the format. Unknown keys are left out."""
    record = decode_object(line)
    if record is None:
        return None
    log, stream, time = record.get("log"), record.get("stream"), record.get("time")
    if not (isinstance(log, str) and isinstance(time, str) and stream in ("stdout", "stderr")):
        return None
    time_ns = parse_rfc3339(time.encode())
    if time_ns is None:
        return None
    content = log.encode()
    extra = {"attrs": record["attrs"]} if "attrs" in record else {}
    if not content.endswith(b"\n"):
        return DockerLine(time_ns, stream, partial=True, content=content, extra=extra)
    content = content[:-1].removesuffix(b"\r")
    return DockerLine(time_ns, stream, partial=False, content=content, extra=extra)


class DockerParser(Parser):
    """Fields ``message``, ``attrs`` if there are any, ``stream``; ``partial: true`` if the line goes on."""

    class Config(ParserConfig):
        """Options of the parser ``docker``."""

        type: Literal["docker"] = "docker"

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        found = split_docker(line)
        if found is None:
            return None
        record = {"message": found.content.decode(), **found.extra, "stream": found.stream}
        if found.partial:
            record["partial"] = True
        return EventTime(found.time_ns), record

    def native(self) -> dict[str, Any]:
        """``{"type"}``."""
        return {"type": "docker"}
