"""Received bytes gathered into whole frames, without I/O.

::

    buffer   |frame|frame|frame|begin of a fr ame ...........|
             at              consumed   filled     needed
             └───── slab, handed on ─┘ └ copied to the next buffer ┘

A connection reads into one buffer. As soon as it holds whole frames, the buffer itself is handed on,
and only the begun frame is copied. Many small frames are handed on as several slabs of one buffer.
Within a frame whose length is known, exactly the missing bytes are read, so that large payloads are
never copied here. Memory grows with what has arrived, not with what was announced; the announced
length is checked first.

An engine may copy what it scans. So once a large packed payload has come, a frame is scanned that has an
empty one in its place, and the positions found are moved::

    | header | 4 bytes: length | payload ................ | options | next frame ...
    | header | c4 00           |                          | options | next frame ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgpack

from logflow.engine.api import MAX_FRAMES, Frame, Scanned
from logflow.errors import MalformedData

READ_BYTES = 64 * 1024
"""What is read at once between frames; also the size of the smallest buffer."""

_THRIFTY_BYTES = 4 * 1024
"""What is read at once where memory is tight."""

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

_NIL = 0xC0
_NILS = bytes([_NIL]) * 1024
_STARTS = frozenset([0xC0, 0x92, 0x93, 0x94, 0xDC, 0xDD])
"""First bytes of frames: nil, and arrays of 2 to 4 (or with a 16 or 32 bit length)."""
_STRANGERS = {
    b"GET ": "an HTTP request", b"POST": "an HTTP request", b"PUT ": "an HTTP request",
    b"HEAD": "an HTTP request", b"\x16\x03": "a TLS client, but this source has no tls",
    b"\x96\xa4PING": "a handshake, but this source has no shared_key",
}  # fmt: skip


Scan: TypeAlias = Callable[[memoryview, int, int], Scanned]


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
    """Whole frames and the part of a buffer that they lie in, which is not written to any more."""

    data: memoryview
    frames: list[Frame]
    size: int
    """Bytes that the frames take."""
    buffer: bytearray
    last: bool
    """Whether this is the last slab of the buffer, so that it may be used again after this."""


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

    def __init__(self, scan: Scan, max_frame: int, pool: BufferPool) -> None:
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
        self._at = 0
        self._filled = 0
        self._needed = 1
        self._scan_at = 1
        self._tries = 0
        self._payload: _Payload | None = None
        self._largest = READ_BYTES
        self.thrifty = False

    @property
    def pending(self) -> int:
        """Bytes that came and have not been handed on."""
        return self._filled - self._at

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
        return self.pending >= self._scan_at

    @property
    def scannable(self) -> bool:
        """Whether :meth:`take` may find something, although it is better to wait for more a little.

        A frame that does not announce its length must be walked from its start. So that this does not
        become quadratic, :attr:`ready` waits until a large one has grown by half, after some tries.
        """
        return self.pending >= self._needed and self.pending > 0

    def space(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._buffer is None:
            self._buffer = self._take_buffer(_THRIFTY_BYTES)
        if self._is_short(len(self._buffer)):
            self._replace(self._buffer, self._next_size(), reuse=not self._at)
        return memoryview(self._buffer)[self._filled : self._at + self._end()]

    def _take_buffer(self, size: int) -> bytearray:
        return (
            bytearray(size) if self.thrifty and size < READ_BYTES else self._pool.take(max(size, READ_BYTES))
        )

    def _end(self) -> int:
        """How many bytes are to be held at most, if the buffer is that long."""
        return max(self._needed + _BEYOND_BYTES, self.pending + self._read_bytes)

    @property
    def _read_bytes(self) -> int:
        return _THRIFTY_BYTES if self.thrifty else READ_BYTES

    def _next_size(self) -> int:
        """Size of the buffer that is wanted next."""
        # An announced length is believed as far as this peer has kept its word before.
        return min(self._end(), max(_GROWTH * self.pending, self._largest) + self._read_bytes)

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

    def take(self, most: int = MAX_FRAMES) -> Slab | None:
        """Return whole frames that have come, if there are any, and at most so many.

        Raises:
            MalformedData: what comes next is no frame. Frames before it have been returned.
            LimitExceeded: it is too large or too deep.
        """
        buffer = self._buffer
        assert buffer is not None
        if buffer[self._at] == _NIL and not self._skip_heartbeats(buffer):
            return None
        start = self._at
        if buffer[start] not in _STARTS:
            raise _stranger(bytes(buffer[start : min(self._filled, start + 16)]))
        scanned = self._look(buffer, most)
        if not scanned.consumed:
            if start:
                self._replace(buffer, self.pending + _BEYOND_BYTES, reuse=False)
            self._tries += 1
            self._expect(max(scanned.needed, self._filled + 1))
            if self._tries > _FREE_TRIES and self._filled > _PATIENT_BYTES:
                self._scan_at = max(self._needed, self._filled + self._filled // 2)
            return None
        self._largest = max(self._largest, scanned.consumed)
        self._at += scanned.consumed
        self._tries, self._payload = 0, None
        more = self.pending > 0 and len(scanned.frames) >= most
        if not self.pending:
            self._buffer, self._at, self._filled = None, 0, 0
        elif not more:
            self._replace(buffer, self.pending + _BEYOND_BYTES, reuse=False)
        self._expect(scanned.needed if self.pending else 1)
        return Slab(memoryview(buffer)[start:], scanned.frames, scanned.consumed, buffer, not more)

    def _skip_heartbeats(self, buffer: bytearray) -> bool:
        """Skip nils, of which a flood would cost more than its bytes; returns whether anything is left."""
        at, size = self._at, len(_NILS)
        while at + size <= self._filled and buffer.startswith(_NILS, at):
            at += size
        rest = buffer[at : min(at + size, self._filled)]
        at += len(rest) - len(rest.lstrip(_NILS[:1]))
        if at == self._filled:
            self.release()
            return False
        self._at = at
        return True

    def _look(self, buffer: bytearray, most: int) -> Scanned:
        with memoryview(buffer)[self._at : self._filled] as view:
            if self._payload is not None and self._payload.end <= self._filled:
                return self._scan_around(view, self._payload, most)
            return self._scan(view, self._max_frame, most)

    def _expect(self, needed: int) -> None:
        """Scan again when ``needed`` bytes have come."""
        self._needed = self._scan_at = needed
        buffer = self._buffer
        if buffer is not None and self._payload is None and needed > self._filled + READ_BYTES:
            self._payload = _find_payload(bytes(buffer[: min(self._filled, _HEAD_BYTES)]))

    def release(self) -> None:
        """Give the memory back; what has not become a frame is forgotten."""
        if self._buffer is not None and not self._at:  # otherwise slabs lie in it
            self._pool.give(self._buffer)
        self._buffer, self._payload = None, None
        self._at, self._filled, self._needed, self._scan_at, self._tries = 0, 0, 1, 1, 0

    def _scan_around(self, view: memoryview, payload: _Payload, most: int) -> Scanned:
        """Scan without looking at a large payload."""
        short = b"".join((view[: payload.header], b"\xc4\x00", view[payload.end :]))
        moved = payload.end - payload.header - 2
        scanned = self._scan(memoryview(short), self._max_frame, most)
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

    def _replace(self, old: bytearray, size: int, *, reuse: bool) -> None:
        """Go on in another buffer, with the bytes that have not been handed on."""
        pending = memoryview(old)[self._at : self._filled]
        self._buffer = self._take_buffer(size)
        self._buffer[: len(pending)] = pending
        self._at, self._filled = 0, len(pending)
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
