"""Dead letters of filters: events for which one raised, kept until somebody decides.

They lie below ``dead-letters/filter.NAME`` and are replayed through the routes, filters included: what a
filter was to take out of them never reaches an output without it.
"""

from __future__ import annotations

import hashlib
import logging
import os

from logflow.batch import Batch, Chunk, DeliveryKey, Span
from logflow.clock import Clock
from logflow.errors import DeliveryError
from logflow.pipeline.dead_letters import DeadLetterStore
from logflow.pipeline.flow import Failed

PREFIX = "filter."
_TRY_AGAIN_S = 60.0

_log = logging.getLogger("logflow.filters")


async def keep_failed(store: DeadLetterStore, clock: Clock, failed: Failed) -> None:
    """Keep events as a dead letter; waits while there is no room, as nobody decided to lose them."""
    batch = failed.batch
    chunk = Chunk(_id(failed.filter, batch), batch.tag, (batch.entries,), batch.count)
    while True:
        try:
            await store.put(chunk, f"{PREFIX}{failed.filter}", f"filter {failed.filter}: {failed.why}")
        except DeliveryError as error:
            _log.error("Events wait for which filter %s failed: %s.", failed.filter, error)
            await clock.sleep(_TRY_AGAIN_S)
        else:
            return


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
