"""Dead letters of filters and sources: events for which one raised, and what came that is no event.

They lie below ``dead-letters/filter.NAME`` and ``dead-letters/source.NAME`` and are replayed through the
routes, filters included: what a filter was to take out of them never reaches an output without it.

Those of sources are samples of what strangers send: there are at most 64 of each source.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress

from logflow.batch import Batch, Chunk, DeliveryKey, Span
from logflow.clock import Clock
from logflow.errors import DeliveryError
from logflow.pipeline.dead_letters import DeadLetterStore
from logflow.pipeline.flow import Failed

FILTER, SOURCE = "filter.", "source."
_MOST_REFUSED = 64
_TRY_AGAIN_S = 60.0

_log = logging.getLogger("logflow.filters")


async def keep_failed(store: DeadLetterStore, clock: Clock, failed: Failed) -> None:
    """Keep events as a dead letter; waits while there is no room, as nobody decided to lose them."""
    batch = failed.batch
    chunk = _chunk(failed.filter, batch)
    while True:
        try:
            await store.put(chunk, f"{FILTER}{failed.filter}", f"filter {failed.filter}: {failed.why}")
        except DeliveryError as error:
            _log.error("Events wait for which filter %s failed: %s.", failed.filter, error)
            await clock.sleep(_TRY_AGAIN_S)
        else:
            return


async def keep_refused(store: DeadLetterStore, source: str, batch: Batch, why: str) -> None:
    """Keep events that a source cannot use as a dead letter, if there is room for it."""
    output = f"{SOURCE}{source}"
    if store.kept(output) < _MOST_REFUSED:
        with suppress(DeliveryError):
            await store.put(_chunk(output, batch), output, why, most=_MOST_REFUSED)


def _chunk(name: str, batch: Batch) -> Chunk:
    return Chunk(_id(name, batch), batch.tag, (batch.entries,), batch.count)


def _id(name: str, batch: Batch) -> bytes:
    """The same for the same events, so that they have one letter though they are read again."""
    match batch.origin:
        case Span(stream, start, end, lane):
            text = f"{name}\0{stream}\0{lane}\0{start}\0{end}".encode()
        case DeliveryKey(key):
            text = f"{name}\0".encode() + key
        case None:
            return os.urandom(16)
    return hashlib.blake2b(text, digest_size=16).digest()
