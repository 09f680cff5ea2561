r"""Log streams of the Engine API, to lines as CRI has them, which the engine reads.

::

    multiplexed   = {frame}           frame = stream(1) 0 0 0 length(4, big-endian) message
    of a terminal = {message}         without frames, lines end with CR LF; all is stdout
    message       = time " " text     the time is RFC 3339; a text without a newline is continued

    CRI           = time " " stdout|stderr " " P|F " " text "\n"
"""

from __future__ import annotations

import struct

from logflow.errors import MalformedData
from logflow.timestamps import parse_rfc3339

MOST_BYTES = 1 << 20
"""Largest frame; the daemon cuts messages at 16 KiB."""

_HEADER = struct.Struct(">BxxxI")
_STREAMS = {1: b"stdout", 2: b"stderr"}


class Frames:
    """Cuts a stream into lines of CRI."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._rest = b""
        self._time = b"1970-01-01T00:00:00Z"
        """Of the last line: what comes without a time is taken to be as old."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has come; return the lines that are whole.

        Raises:
            MalformedData: it is no such stream.
        """
        data = self._rest + data
        lines: list[bytes] = []
        at = self._feed_lines(data, lines) if self._terminal else self._feed_frames(data, lines)
        self._rest = data[at:]
        if len(self._rest) > MOST_BYTES + _HEADER.size:
            raise MalformedData("a line of the log stream is too long")
        return lines

    def _feed_lines(self, data: bytes, lines: list[bytes]) -> int:
        end = data.rfind(b"\n") + 1
        whole = data[:end].replace(b"\r\n", b"\n").split(b"\n")[:-1]
        lines += [self._line(b"stdout", line + b"\n") for line in whole]
        return end

    def _feed_frames(self, data: bytes, lines: list[bytes]) -> int:
        at = 0
        while len(data) - at >= _HEADER.size:
            number, size = _HEADER.unpack_from(data, at)
            if number not in _STREAMS or size > MOST_BYTES:
                raise MalformedData("the log stream has a bad frame")
            start = at + _HEADER.size
            if len(data) - start < size:
                break
            lines.append(self._line(_STREAMS[number], data[start : start + size]))
            at = start + size
        return at

    def _line(self, stream: bytes, message: bytes) -> bytes:
        time, _, text = message.partition(b" ")
        if parse_rfc3339(time) is None:
            text = message
        else:
            self._time = time
        whole = text.endswith(b"\n")
        text = text.rstrip(b"\n").replace(b"\n", b" ") if whole else text.replace(b"\n", b" ")
        return b"%b %b %b %b\n" % (self._time, stream, b"F" if whole else b"P", text)


def time_of(line: bytes) -> bytes:
    """Return the time of a line, as it is written."""
    return line.partition(b" ")[0]
