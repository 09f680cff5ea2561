"""Received bytes gathered into whole frames, without I/O.

::

    buffer   |frame|frame|frame|begin of a fr ame ...........|
             0               consumed   filled     needed
             └───── slab, handed on ─┘ └ copied to the next buffer ┘

A connection reads into one buffer. As soon as it holds whole frames, the buffer itself is handed on,
and only the begun frame is copied. Within a frame whose length is known, exactly the missing bytes are
read, so that large payloads are never copied here. Memory grows with what has arrived, not with what
was announced; the announced length is checked first.

An engine may copy what it scans. So once a large packed payload has come, a frame is scanned that has an
empty one in its place, and the positions found are moved::

    | header | 4 bytes: length | payload ................ | options | next frame ...
    | header | c4 00           |                          | options | next frame ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgpack

from logflow.engine.api import Frame, Scanned
from logflow.errors import MalformedData

READ_BYTES = 64 * 1024
"""What is read at once between frames; also the size of the smallest buffer."""

_THRIFTY_BYTES = 4 * 1024
"""What is read first where memory is tight."""

_GROWTH = 4
_BEYOND_BYTES = 1024
"""What is read beyond a large payload: the options of the frame."""
_FREE_TRIES = 4
_PATIENT_BYTES = 256 * 1024
_KEPT_BYTES = 64 * 1024 * 1024
_ROUND_BYTES = 1 << 20

_HEAD_BYTES = 8 * 1024
_LENGTH_BYTES = {0xC5: 2, 0xC6: 4, 0xDA: 2, 0xDB: 4}
"""Bytes of the length of a long bin or str, by its first byte."""

_STARTS = frozenset([0xC0, 0x92, 0x93, 0x94, 0xDC, 0xDD])
"""First bytes of frames: nil, and arrays of 2 to 4 (or with a 16 or 32 bit length)."""
_STRANGERS = {
    b"GET ": "an HTTP request", b"POST": "an HTTP request", b"PUT ": "an HTTP request",
    b"HEAD": "an HTTP request", b"\x16\x03": "a TLS client, but this source has no tls",
    b"\x96\xa4PING": "a handshake, but this source has no shared_key",
}  # fmt: skip


class BufferPool:
    """Large buffers that are used again, as fresh memory costs as much as the data that goes into it."""

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        """Keep at most ``kept_bytes`` of unused buffers."""
        self._free: list[bytearray] = []
        self._room = kept_bytes

    def take(self, size: int) -> bytearray:
        """Return a buffer of at least ``size`` bytes with arbitrary contents."""
        for index, buffer in enumerate(self._free):
            if size <= len(buffer) <= max(2 * size, 2 * READ_BYTES):
                del self._free[index]
                self._room += len(buffer)
                return buffer
        unit = READ_BYTES if size <= _ROUND_BYTES else _ROUND_BYTES
        return bytearray(-(-size // unit) * unit)

    def give(self, buffer: bytearray) -> None:
        """Take back a buffer that nobody looks at any more."""
        if READ_BYTES <= len(buffer) <= self._room:
            self._room -= len(buffer)
            self._free.append(buffer)


class Slab(NamedTuple):
    """Whole frames and the buffer that they lie in, which is not written to any more."""

    data: bytearray
    frames: list[Frame]
    size: int
    """Bytes that the frames take."""


class _Payload(NamedTuple):
    """Where the payload of a large packed frame lies in the buffer."""

    header: int
    start: int
    end: int


class FrameReader:
    """Gathers the frames of one connection.

    Write received bytes to :meth:`space`, tell :meth:`filled`, and call :meth:`take` while :attr:`ready`.

    Attributes:
        thrifty: read little at first, as memory is tight.
    """

    def __init__(self, scan: Callable[[memoryview, int], Scanned], max_frame: int, pool: BufferPool) -> None:
        """Read frames.

        Args:
            scan: ``Engine.scan_frames``.
            max_frame: most bytes of one frame.
            pool: where buffers come from.
        """
        self._scan = scan
        self._max_frame = max_frame
        self._pool = pool
        self._buffer: bytearray | None = None
        self._filled = 0
        self._needed = 1
        self._scan_at = 1
        self._tries = 0
        self._payload: _Payload | None = None
        self._largest = READ_BYTES
        self.thrifty = False

    @property
    def pending(self) -> int:
        """Bytes of a begun frame."""
        return self._filled

    @property
    def expected(self) -> int:
        """Bytes that the begun frame takes, as far as that is known."""
        return max(self._needed, self._filled) if self._filled else 0

    @property
    def demand(self) -> int:
        """Bytes of memory that are held, or will be when more is read."""
        if self._buffer is None or not self._filled:
            return 0
        size = len(self._buffer)
        return max(size, self._next_size()) if self._is_short(size) else size

    @property
    def ready(self) -> bool:
        """Whether to call :meth:`take` now."""
        return self._filled >= self._scan_at

    @property
    def scannable(self) -> bool:
        """Whether :meth:`take` may find something, although it is better to wait for more a little.

        A frame that does not announce its length must be walked from its start. So that this does not
        become quadratic, :attr:`ready` waits until a large one has grown by half, after some tries.
        """
        return self._filled >= self._needed and self._filled > 0

    def space(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._buffer is None:
            self._buffer = bytearray(_THRIFTY_BYTES) if self.thrifty else self._pool.take(READ_BYTES)
        if self._is_short(len(self._buffer)):
            self._replace(self._buffer, 0, self._next_size())
        end = self._end()
        return memoryview(self._buffer)[self._filled : end]

    def _end(self) -> int:
        """Where reading ends, if the buffer is that long."""
        return max(self._needed + _BEYOND_BYTES, self._filled + READ_BYTES)

    def _next_size(self) -> int:
        """Size of the buffer that is wanted next."""
        # An announced length is believed as far as this peer has kept its word before.
        return min(self._end(), max(_GROWTH * self._filled, self._largest) + READ_BYTES)

    def _is_short(self, size: int) -> bool:
        """Whether a buffer of this size is full, or much too small for what has just begun to come."""
        begun = self._filled <= _BEYOND_BYTES and self._next_size() > size + READ_BYTES
        return begun or self._filled == size

    def filled(self, size: int) -> None:
        """The first ``size`` bytes of :meth:`space` have been written."""
        self._filled += size

    def feed(self, data: bytes) -> None:
        """Take bytes that were received elsewhere."""
        view = memoryview(data)
        while view:
            space = self.space()
            size = min(len(space), len(view))
            space[:size] = view[:size]
            self._filled += size
            view = view[size:]

    def take(self) -> Slab | None:
        """Return the whole frames that have come, if any.

        Raises:
            MalformedData: what comes next is no frame. Frames before it have been returned.
            LimitExceeded: it is too large or too deep.
        """
        buffer = self._buffer
        assert buffer is not None
        if buffer[0] not in _STARTS:
            raise _stranger(bytes(buffer[: min(self._filled, 16)]))
        scanned = self._look(buffer)
        if not scanned.consumed:
            self._tries += 1
            self._expect(buffer, max(scanned.needed, self._filled + 1))
            if self._tries > _FREE_TRIES and self._filled > _PATIENT_BYTES:
                self._scan_at = max(self._needed, self._filled + self._filled // 2)
            return None
        self._largest = max(self._largest, scanned.consumed)
        rest = self._filled - scanned.consumed
        if rest:
            self._replace(buffer, scanned.consumed, max(rest, READ_BYTES), reuse=False)
        else:
            self._buffer = None
        self._filled, self._tries, self._payload = rest, 0, None
        self._expect(self._buffer, scanned.needed if rest else 1)
        return Slab(buffer, scanned.frames, scanned.consumed)

    def _look(self, buffer: bytearray) -> Scanned:
        with memoryview(buffer)[: self._filled] as view:
            if self._payload is not None and self._payload.end <= self._filled:
                return self._scan_around(view, self._payload)
            return self._scan(view, self._max_frame)

    def _expect(self, buffer: bytearray | None, needed: int) -> None:
        """Scan again when ``needed`` bytes have come."""
        self._needed = self._scan_at = needed
        if buffer is not None and self._payload is None and needed > self._filled + READ_BYTES:
            self._payload = _find_payload(bytes(buffer[: min(self._filled, _HEAD_BYTES)]))

    def release(self) -> None:
        """Give the memory back; what has not become a frame is forgotten."""
        if self._buffer is not None:
            self._pool.give(self._buffer)
        self._buffer, self._payload = None, None
        self._filled, self._needed, self._scan_at, self._tries = 0, 1, 1, 0

    def _scan_around(self, view: memoryview, payload: _Payload) -> Scanned:
        """Scan without looking at a large payload."""
        short = b"".join((view[: payload.header], b"\xc4\x00", view[payload.end :]))
        moved = payload.end - payload.header - 2
        scanned = self._scan(memoryview(short), self._max_frame)
        frames = [
            frame._replace(
                start=frame.start + moved, end=frame.end + moved,
                option_start=frame.option_start + moved, option_end=frame.option_end + moved,
            )
            for frame in scanned.frames
        ]  # fmt: skip
        if not frames:
            return Scanned([], 0, scanned.needed + moved)
        frames[0] = frames[0]._replace(start=payload.start)
        return Scanned(frames, scanned.consumed + moved, scanned.needed)

    def _replace(self, old: bytearray, start: int, size: int, *, reuse: bool = True) -> None:
        """Go on in another buffer, with the bytes of the old one from ``start`` on."""
        self._buffer = self._pool.take(max(size, READ_BYTES))
        self._buffer[: self._filled - start] = memoryview(old)[start : self._filled]
        if reuse:
            self._pool.give(old)


def _find_payload(head: bytes) -> _Payload | None:
    """Find the payload of a packed frame that has only begun to come; ``None`` for other frames."""
    unpacker = msgpack.Unpacker(raw=True, max_buffer_size=_HEAD_BYTES)
    unpacker.feed(head)
    try:
        unpacker.read_array_header()
        unpacker.skip()
    except (ValueError, msgpack.UnpackException):
        return None
    at = unpacker.tell()
    width = _LENGTH_BYTES.get(head[at]) if at + 5 <= len(head) else None
    if width is None:
        return None
    start = at + 1 + width
    return _Payload(at, start, start + int.from_bytes(head[at + 1 : start], "big"))


def _stranger(head: bytes) -> MalformedData:
    for start, what in _STRANGERS.items():
        if head.startswith(start):
            return MalformedData(f"this is not the Forward Protocol but {what}")
    return MalformedData(f"this is not the Forward Protocol: it begins with {head!r}")
