"""Buffers on disk that belong to no output: it was renamed, removed or given a memory buffer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from logflow.buffers.disk import DiskBuffer
from logflow.buffers.disk.inspection import survey
from logflow.errors import ComponentError, MalformedData
from logflow.receipt import Receipt
from logflow.storage.checkpoints import BufferMark, Checkpoints
from logflow.storage.fs import Fs
from logflow.telemetry.ledger import Account

_FILES = (".segment", ".keys")


@dataclass(frozen=True)
class Stranded:
    """A buffer without an output.

    Attributes:
        output: the name that it had.
        events: how many wait in it.
        size: bytes of their packed entries.
        since_ns: wall-clock time at which the oldest of them came; 0 when there are none.
    """

    output: str
    events: int
    size: int
    since_ns: int

    def describe(self, now_ns: int) -> str:
        """One line: what waits, for how long, and what to do."""
        age_s = (now_ns - self.since_ns) / 1e9
        return (
            f"{self.events:,} events ({self.size:,} bytes, the oldest from {age_s:,.0f} s ago) wait in the "
            f"buffer of {self.output!r}, which no output uses: give an output that name and a disk buffer "
            f"again, or stop the service and run logflow buffer move {self.output} OUTPUT"
        )


def stranded_directories(buffers: Path, outputs: Collection[str]) -> list[Path]:
    """Directories of buffers that none of the ``outputs`` (those with disk buffers) uses."""
    if not buffers.is_dir():
        return []
    return sorted(
        path
        for path in buffers.iterdir()
        if path.name not in outputs and path.is_dir() and any(path.glob("*.segment"))
    )


def find_stranded(buffers: Path, outputs: Collection[str]) -> Iterator[Stranded]:
    """Look into the buffers that no output uses; those in which nothing waits are left out. May take long.

    Args:
        buffers: the directory of all buffers.
        outputs: names of the outputs that have a disk buffer.
    """
    for directory in stranded_directories(buffers, outputs):
        try:
            queues = survey(directory).found.queues.values()
        except (ComponentError, OSError):  # of a later version, or not ours to read
            continue
        totals = [queue.rows.totals() for queue in queues]
        if events := sum(count for count, _ in totals):
            since_ns = min(queue.rows[0].time_ns for queue in queues)
            yield Stranded(directory.name, events, sum(size for _, size in totals), since_ns)


async def move(source: Path, target: Path, checkpoints: Checkpoints, make: Callable[[], DiskBuffer]) -> int:
    """Hand what waits in one buffer to another one, in order; returns how many events.

    Into an empty buffer the files are moved, so that chunks keep their ids. Otherwise the batches are put
    behind what waits there; a chunk that was under way when its service stopped may then arrive twice.

    Args:
        source: directory of the buffer that no output uses.
        target: that of the other one.
        checkpoints: those of the data directory, open.
        make: makes the target's buffer.

    Raises:
        ComponentError: one of them is in use, or the target's cannot be opened.
    """
    fs = Fs()
    with ExitStack() as stack:
        for directory in (source, target):
            fs.make_directory(directory)
            stack.callback(fs.close, _lock(fs, directory))
        waiting = sum(queue.rows.totals()[0] for queue in survey(source).found.queues.values())
        if not any(target.glob("*.segment")):
            checkpoints.mark(target.name, checkpoints.marked(source.name) or BufferMark(0, 0))
            checkpoints.flush()
            for path in _files(source):
                fs.rename(path, target / path.name)
            fs.sync_directory(target)
    if _files(source):
        await _put_all(source, make())
    checkpoints.mark(source.name, BufferMark(0, 0))
    for path in _files(source):
        fs.remove(path)
    fs.sync_directory(source)
    return waiting


async def _put_all(source: Path, buffer: DiskBuffer) -> None:
    """Put every batch of a directory into an open buffer, and wait until it is stored."""
    account, seen = Account("(moved)", source.name), survey(source)
    await buffer.open(lambda _: Account("(there)", source.name))
    try:
        for tag, row in seen.batches():
            try:
                batch = seen.read(tag, row)
            except MalformedData as error:
                logging.getLogger("logflow.buffers").error("%s.", error)
                continue
            receipt = Receipt(1)
            account.enter(batch.count)
            await buffer.put(batch, account, receipt)
            await receipt
    finally:
        await buffer.close()


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix in _FILES)


def _lock(fs: Fs, directory: Path) -> int:
    try:
        return fs.lock(directory / "lock")
    except BlockingIOError as error:
        raise ComponentError(f"the disk buffer {directory} is in use; stop the service first") from error
