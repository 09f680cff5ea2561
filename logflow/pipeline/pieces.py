"""Cutting a chunk that is too large for its destination, between events.

A chunk is halved until its pieces are small enough::

    chunk                 ├───────────────────────────────┤   id
    first half, second    ├───────────────┼───────────────┤   hash(id, 0)  hash(id, 1)
    and so on             ├───────┼───────┼───────┼───────┤

Where it is cut depends on its events alone, not on the limit, on the batches that it is made of or on what
was delivered already. So a chunk that comes again after a restart has the same pieces with the same ids, and
whoever knows ids recognises them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import replace

from logflow.batch import Chunk
from logflow.engine.api import Engine


def cut(chunk: Chunk, limit: int, engine: Engine) -> list[Chunk]:
    """Halve a chunk until no piece has more than ``limit`` bytes, or each that has is a single event."""
    if chunk.size <= limit:
        return [chunk]
    pieces: list[Chunk] = []
    waiting = [chunk]
    while waiting:
        piece = waiting.pop()
        if piece.size > limit and piece.count > 1:
            waiting += reversed(halves(piece, engine))
        else:
            pieces.append(piece)
    return pieces


def halves(chunk: Chunk, engine: Engine) -> tuple[Chunk, Chunk]:
    """Cut a chunk of several events near the middle of its bytes."""
    middle, before, index = chunk.size // 2, 0, 0
    while before + len(chunk.parts[index]) <= middle:
        before += len(chunk.parts[index])
        index += 1
    part = chunk.parts[index]
    edges = engine.offsets(part)
    # The first event that begins in the second half; the last one if none does. No half is empty.
    place = bisect_left(edges, middle - before)
    at = edges[place] if place < len(edges) else len(part)
    if before + at == chunk.size:
        at = edges[-1]
    first = _parts(chunk.parts[:index], part[:at])
    second = _parts((), part[at:], chunk.parts[index + 1 :])
    events = sum(map(engine.count, first))
    places = chunk.places
    return (
        replace(
            chunk, id=_child(chunk.id, 0), parts=first, count=events, part=places.select(slice(0, events))
        ),
        replace(
            chunk, id=_child(chunk.id, 1), parts=second, count=chunk.count - events,
            part=places.select(slice(events, None)),
        ),
    )  # fmt: skip


def letter_id(chunk: Chunk, part: Chunk) -> bytes:
    """The id of a dead letter about a part of a chunk: the same whenever that part is rejected."""
    if part.id != chunk.id or part.count == chunk.count:
        return part.id
    digest = hashlib.blake2b(chunk.id, digest_size=16)
    if part.part is not None:  # events may be equal, and rejected for reasons of their own
        digest.update(repr(list(part.part.indices)).encode())
    for entries in part.parts:
        digest.update(entries)
    return digest.digest()


def _child(chunk_id: bytes, half: int) -> bytes:
    return hashlib.blake2b(chunk_id + bytes([half]), digest_size=16, person=b"logflow-half").digest()


def _parts(before: tuple[bytes, ...], middle: bytes, after: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
    return (*before, *((middle,) if middle else ()), *after)
