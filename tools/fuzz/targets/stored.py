"""Files below ``data_dir``, and configuration."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from logflow.batch import Batch, Chunk
from logflow.buffers.disk.inspection import survey
from logflow.config.loader import load
from logflow.errors import LogflowError
from logflow.outputs.file.journal import FileJournal
from logflow.pipeline.dead_letters import DeadLetterStore
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.fs import Fs
from logflow.testing import FakeClock
from tools.fuzz.targets.base import Target, directory

_QUIET = logging.Logger("fuzz", logging.CRITICAL + 1)  # noqa: LOG001 - not part of the tree


def _place(name: str, data: bytes) -> Path:
    """A fresh directory with one file in it."""
    made = directory() / name
    if made.exists():
        for path in sorted(made.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    path = made / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _journal(data: bytes) -> None:
    """A damaged journal opens, and opens the same a second time."""
    found = []
    path = _place("journal", data)
    for _ in range(2):
        journal = FileJournal(path, Fs(), _QUIET)
        try:
            journal.open()
        except LogflowError:
            return
        found.append([journal.committed(bytes([number]) * 16) for number in range(4)])
        journal.close()
    assert found[0] == found[1]


def _checkpoints(data: bytes) -> None:
    path = _place("checkpoints", data)
    found = []
    for _ in range(2):
        checkpoints = Checkpoints(path)
        try:
            checkpoints.open()
        except LogflowError:
            return
        found.append(dict(checkpoints.streams("tail")))
        checkpoints.close()
    assert found[0] == found[1]


def _segment(data: bytes) -> None:
    """Whatever lies in a buffer's directory is read through, or set aside in what is said of it."""
    path = _place("buffer", data)
    marker, number = data[8:16].ljust(8, b"\0"), int.from_bytes(data[16:20], "little")
    path.rename(path.with_name(f"{number:016x}-{marker.hex()}.segment"))
    found = survey(path.parent, bodies=True)
    for tag, row in found.batches():
        with suppress(LogflowError):
            found.read(tag, row)


def _letter(data: bytes) -> None:
    path = _place("letters", data)
    made = path.parent / "out" / "1-0.letter"
    made.parent.mkdir()
    path.rename(made)
    store = DeadLetterStore(path.parent, FakeClock())
    for letter in store.letters():
        with suppress(LogflowError):
            letter.batch()
    assert len(store.damaged()) <= 1


def _configuration(data: bytes) -> None:
    with suppress(LogflowError):
        load([Path("-")], {"HOME": "/"}, lambda: data)


def _journal_seed() -> bytes:
    path = _place("journal", b"")
    path.unlink()
    journal = FileJournal(path, Fs(), _QUIET)
    journal.open()
    journal.commit([b"\1" * 16], [])
    journal.commit([b"\2" * 16, b"\3" * 16], [])
    journal.close()
    return path.read_bytes()


def _checkpoints_seed() -> bytes:
    path = _place("checkpoints", b"")
    path.unlink()
    checkpoints = Checkpoints(path)
    checkpoints.open()
    checkpoints.save("tail", "a", {"offset": 1})
    checkpoints.save("tail", "b", {"offset": 2})
    checkpoints.close()
    return path.read_bytes()


def _letter_seed() -> bytes:
    path = _place("letters", b"")
    path.unlink()
    batch = Batch.from_events("t", [(1, {"n": 1})])
    store = DeadLetterStore(path.parent, FakeClock())
    asyncio.run(store.put(Chunk(b"\3" * 16, "t", (batch.entries,), 1), "out", "no"))
    return next(path.parent.rglob("*.letter")).read_bytes()


_CONFIGURATION = b"""
data_dir: ${HOME}/x
sources: {a: {type: forward, listen: "127.0.0.1:1"}, b: {type: tail, paths: [/a/*.log], tag: "t.{path}"}}
filters: {clean: [{type: select, keep: 'level != "debug" and a.b[0] > 1'}]}
routes:
  - {match: "a.**", where: 'x in [1, 2]', filters: [{use: clean}, {type: grep, keep: {a: b}}], outputs: [o]}
outputs: {o: {type: file, path: "/tmp/{tag}/%Y.log", buffer: {type: memory, limit: 1MiB}}}
"""

TARGETS = (
    Target("journal", _journal, [_journal_seed()]),
    Target("checkpoints", _checkpoints, [_checkpoints_seed()]),
    Target("segment", _segment, []),
    Target("letter", _letter, [_letter_seed()]),
    Target("configuration", _configuration, [_CONFIGURATION]),
)
