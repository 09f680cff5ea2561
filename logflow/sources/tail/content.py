"""The bytes of a log file, plain or compressed, read at any offset."""

from __future__ import annotations

import os
import stat
import zlib
from io import FileIO
from typing import Protocol

import zstandard

from logflow.compression import ZSTD_WINDOW_BYTES

COMPRESSED = (".gz", ".zst")
"""What the names of compressed files end with."""

_PIECE_BYTES = 64 * 1024
_GZIP = 31  # zlib's wbits for a gzip header, with the largest window


class Content(Protocol):
    """Bytes at offsets."""

    fd: int
    grows: bool
    """Whether a writer may still add to it."""
    slow: bool
    """Whether reading takes long enough to be done in a thread."""

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from ``offset`` on; fewer than ``size`` only at the end.

        Raises:
            OSError: it cannot be read; ``zlib.error`` is brought to this as well.
        """
        ...

    def limit(self, size: int) -> None:
        """Have no more than ``size`` bytes: what follows belongs to another file."""
        ...

    @property
    def deleted(self) -> bool:
        """Whether the file has no name any more: then closing it frees its room, which may take long."""
        ...

    def close(self) -> None:
        """Release the descriptor. Safe twice."""
        ...


class PlainContent:
    """A file as it is."""

    def __init__(self, fd: int, *, grows: bool = True) -> None:
        self.fd = fd
        self.grows = grows
        self.slow = False
        self._limit: int | None = None

    def limit(self, size: int) -> None:
        """Have no more than ``size`` bytes, and grow no more."""
        self._limit = size
        self.grows = False

    def read(self, offset: int, size: int) -> bytes:
        """Read without moving the file's own position."""
        if self._limit is not None:
            size = max(min(size, self._limit - offset), 0)
        data = os.pread(self.fd, size, offset)
        while data and len(data) < size and (more := os.pread(self.fd, size - len(data), offset + len(data))):
            data += more
        return data

    @property
    def deleted(self) -> bool:
        """Whether the file has no name any more."""
        return self.fd >= 0 and os.fstat(self.fd).st_nlink == 0

    def close(self) -> None:
        """Close the file."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class PackedContent(PlainContent):
    """A compressed file, offsets being those of what it holds. Going back means starting over."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, grows=False)
        self.slow = True
        self._restart()

    def _restart(self) -> None:
        """Begin with the first byte."""
        self._offset = 0

    def _next(self, limit: int) -> bytes:
        """Unpack at most ``limit`` bytes; empty at the end, also at that of a file that was cut."""
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes:
        """Unpack up to ``offset``, and from there on."""
        if self._limit is not None:
            size = max(min(size, self._limit - offset), 0)
        if offset < self._offset:
            self._restart()
        try:
            while self._offset < offset:
                if not self._unpack(min(_PIECE_BYTES, offset - self._offset)):
                    return b""
            data = bytearray()
            while len(data) < size and (piece := self._unpack(min(_PIECE_BYTES, size - len(data)))):
                data += piece
        except (zlib.error, zstandard.ZstdError) as error:
            raise OSError(f"the compressed data are damaged: {error}") from error
        return bytes(data)

    def _unpack(self, limit: int) -> bytes:
        piece = self._next(limit)
        self._offset += len(piece)
        return piece


class GzipContent(PackedContent):
    """A gzip file, whose members may be concatenated."""

    def _restart(self) -> None:
        super()._restart()
        self._inflate = zlib.decompressobj(_GZIP)
        self._raw_offset = 0
        self._input = b""

    def _next(self, limit: int) -> bytes:
        while True:
            if not self._input:
                self._input = os.pread(self.fd, _PIECE_BYTES, self._raw_offset)
                self._raw_offset += len(self._input)
            exhausted = not self._input
            if self._inflate.eof:
                if exhausted:
                    return b""
                self._inflate = zlib.decompressobj(_GZIP)
            piece = self._inflate.decompress(self._input, limit)
            self._input = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if piece or (exhausted and not self._inflate.eof):
                return piece


class ZstdContent(PackedContent):
    """A zstd file, whose frames may be concatenated."""

    def _restart(self) -> None:
        super()._restart()
        os.lseek(self.fd, 0, os.SEEK_SET)
        unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
        raw = FileIO(self.fd, closefd=False)
        self._reader = unpacker.stream_reader(raw, read_size=_PIECE_BYTES, read_across_frames=True)

    def _next(self, limit: int) -> bytes:
        return self._reader.read(limit)


class NoContent(PlainContent):
    """A file that is gone."""

    def __init__(self) -> None:
        super().__init__(-1, grows=False)

    def read(self, offset: int, size: int) -> bytes:  # noqa: ARG002
        """Nothing."""
        return b""


def open_content(path: str) -> tuple[Content, os.stat_result]:
    """Open a log file; its name says whether it is compressed.

    Raises:
        OSError: it cannot be opened or is not a regular file.
    """
    # Not blocking: a named pipe that matches a glob must not stop us.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise OSError("it is not a regular file")
    if path.endswith(".gz"):
        return GzipContent(fd), status
    return (ZstdContent(fd) if path.endswith(".zst") else PlainContent(fd)), status


def is_compressed(path: str) -> bool:
    """Whether the name of a file says that it is compressed."""
    return path.endswith(COMPRESSED)
