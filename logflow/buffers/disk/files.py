"""The files of an open buffer. Everything here runs in a thread, one call at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from logflow.buffers.disk.recovery import Recovered, recover
from logflow.buffers.disk.segments import Reserve, Segment, SegmentLog
from logflow.buffers.disk.window import Key, KeyFile
from logflow.clock import Clock
from logflow.errors import ComponentError
from logflow.storage.fs import Fs

_LOOK_S = 1.0
"""How often it is looked whether the directory is still there."""


@dataclass(frozen=True)
class Storage:
    """What a buffer's files are made with.

    Attributes:
        fs: file operations.
        executor: runs them; threads of the buffer's own unless given.
        segment_bytes: size at which a segment is followed by a new one; it depends on the limit unless given.
    """

    fs: Fs = field(default_factory=Fs)
    executor: Executor | None = None
    segment_bytes: int | None = None


class BufferFiles:
    """A locked directory: segments, accepted keys, the reserve.

    Attributes:
        segments: where batches are.
        keys: where the keys of deleted segments are.
        reserve: room for notes when the disk is full.
        found: what was there when it was opened; the buffer takes it over.
    """

    def __init__(
        self, fs: Fs, directory: Path, *, segment_bytes: int, synced: bool, clock: Clock, log: logging.Logger,
        cancelled: Callable[[], bool],
    ) -> None:  # fmt: skip
        """Lock the directory and recover what is in it, unless it is ``cancelled`` meanwhile.

        Raises:
            ComponentError: it is in use, it cannot be used, or a later version wrote it.
        """
        self._fs = fs
        self._directory = directory
        self._clock = clock
        self._deleted = False
        self._look_s = -math.inf
        try:
            fs.make_directory(directory)
            self._lock_fd = fs.lock(directory / "lock")
        except BlockingIOError as error:
            raise ComponentError(
                f"the disk buffer {directory} is in use by another process; give each its own data_dir"
            ) from error
        except OSError as error:
            raise _unusable(directory, error) from error
        try:
            self.found: Recovered = recover(fs, directory, log, sync=synced, cancelled=cancelled)
        except BaseException as error:
            fs.close(self._lock_fd)
            if isinstance(error, OSError):
                raise _unusable(directory, error) from error
            raise
        self.segments = SegmentLog(
            fs, directory, self.found.segments, suffix="segment", segment_bytes=segment_bytes, clock=clock,
            synced=synced,
        )  # fmt: skip
        self.keys = KeyFile(
            fs, directory, self.found.key_files, self.found.key_file_keys, clock, synced=synced
        )
        self.reserve = Reserve(fs, directory)
        self.reserve.take()

    @property
    def problem(self) -> str | None:
        """Says that the directory was deleted: what is written goes nowhere, and another process may come."""
        now_s = self._clock.monotonic()
        if now_s >= self._look_s:  # who puts a batch asks every time
            self._look_s = now_s + _LOOK_S
            self._deleted = self._fs.deleted(self._lock_fd)
        return f"{self._directory} was deleted while in use; restart the service" if self._deleted else None

    def delete(self, segment: Segment, keys: list[Key], *, all_keys: bool) -> None:
        """Delete the oldest segment, after its keys (or all that count) are saved elsewhere.

        May run while another thread appends to the segments.

        Raises:
            OSError: it may still be there.
        """
        self.keys.save(keys, everything=all_keys)
        self.segments.remove(segment)

    def close(self) -> None:
        """Sync if anything ever is, and let go of the directory."""
        self.segments.close()
        self.keys.close()
        self._fs.close(self._lock_fd)


def _unusable(directory: Path, error: OSError) -> ComponentError:
    return ComponentError(
        f"the disk buffer {directory} cannot be used: {error.strerror or error}; "
        "make it writable, or set data_dir elsewhere"
    )
