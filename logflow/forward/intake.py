"""Frames made into batches, without I/O.

::

    frames ──► requests: neighbours with one tag and no chunk id are put together
           ──► open_request: decompress, normalize, make the delivery key (may run in a thread)
           ──► Batch
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from typing_extensions import Buffer

from logflow.batch import Batch
from logflow.compression import decompress
from logflow.engine.api import Engine, Frame
from logflow.errors import LimitExceeded, MalformedData
from logflow.forward.frames import MAX_TAG_BYTES, NO_OPTION, Option, read_option
from logflow.forward.identity import delivery_key
from logflow.packing import to_text

_NIL = 0xC0
_ENTRY = b"\x92"
_MERGED_BYTES = 1 << 20


@dataclass(slots=True)
class Request:
    """What is handled as one: a frame, or several that need no answer.

    Attributes:
        tag: the tag as received.
        parts: the entries of each frame; the payload as received when it is compressed.
        size: bytes of all parts.
        option: the frame's option.
    """

    tag: bytes
    parts: list[Buffer]
    size: int
    option: Option


class Opened(NamedTuple):
    """What a request holds."""

    batch: Batch
    problem: MalformedData | None
    """Why the frames after those in the batch are no good; ``None`` when all are in it."""


def requests(data: Buffer, frames: Iterable[Frame]) -> Iterator[Request]:
    """Make requests of the frames that lie in ``data``.

    Raises:
        MalformedData: a frame is none that we know; what came before it has been yielded.
    """
    view = memoryview(data)
    pending: Request | None = None
    for frame in frames:
        try:
            option = _option(view, frame)
        except MalformedData:
            if pending is not None:
                yield pending
            raise
        if frame.mode == "other":
            continue
        payload: Buffer = view[frame.start : frame.end]
        if frame.mode == "message":
            payload = _ENTRY + payload
        size = frame.end - frame.start
        merges = option is NO_OPTION and pending is not None and pending.option is NO_OPTION
        if (
            merges
            and pending is not None
            and pending.tag == frame.tag
            and pending.size + size < _MERGED_BYTES
        ):
            pending.parts.append(payload)
            pending.size += size
            continue
        if pending is not None:
            yield pending
        pending = Request(frame.tag, [payload], size, option)
    if pending is not None:
        yield pending


def _option(view: memoryview, frame: Frame) -> Option:
    """Read a frame's option, and refuse the frame where that can be done without looking into it."""
    if frame.mode == "other":
        if view[frame.start] != _NIL:
            raise MalformedData("this is not the Forward Protocol: neither an array nor nil")
        return NO_OPTION
    if len(frame.tag) > MAX_TAG_BYTES:
        raise LimitExceeded(f"a tag has {len(frame.tag):,} bytes; {MAX_TAG_BYTES:,} are allowed")
    if frame.option_start == frame.option_end:
        return NO_OPTION
    option = read_option(bytes(view[frame.option_start : frame.option_end]))
    if frame.mode != "packed" and option.compressed != "none":
        raise MalformedData("only a packed payload can be compressed")
    plain = Option()
    return NO_OPTION if option == plain else option


def open_request(engine: Engine, request: Request, peer: bytes, limit: int) -> Opened:
    """Decompress and check a request's entries. Takes its time for large ones; no state, any thread.

    Args:
        engine: normalizes the entries.
        request: from :func:`requests`.
        peer: who sent it, from ``identity.peer_identity``.
        limit: most bytes that a payload may become when it is decompressed.

    Raises:
        MalformedData: nothing of the request can be used.
        LimitExceeded: it is too large when decompressed, or too deep.
    """
    option, parts = request.option, request.parts
    payload = parts[0] if len(parts) == 1 else b"".join(parts)
    if option.compressed != "none":
        payload = decompress(bytes(payload), option.compressed, limit)
    origin = delivery_key(peer, request.tag, option, payload) if option.chunk else None
    tag = to_text(request.tag)
    try:
        entries, events = engine.normalize(payload)
    except MalformedData as problem:
        if len(parts) == 1:
            raise
        return _open_good(engine, tag, parts, problem)
    return Opened(Batch(tag, entries, events, origin), None)


def _open_good(engine: Engine, tag: str, parts: list[Buffer], problem: MalformedData) -> Opened:
    """Save what came in frames before the bad one."""
    good: list[bytes] = []
    events = 0
    for part in parts:
        try:
            normalized = engine.normalize(part)
        except MalformedData as error:
            problem = error
            break
        good.append(normalized.entries)
        events += normalized.events
    return Opened(Batch(tag, b"".join(good), events), problem)
