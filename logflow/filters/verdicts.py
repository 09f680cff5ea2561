"""What filters with state decided about recent deliveries.

A delivery is sent again when it could not be stored, or when its answer was lost. A filter that counts or
compares must not judge it anew: its events would be taken for repeats of themselves, and dropped although
nobody has them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from logflow.batch import Batch, Origin

_MOST_BYTES = 8 << 20
_VERDICT_BYTES = 200
"""What one takes beside the events."""


class _Delivery(NamedTuple):
    origin: Origin
    tag: str
    events: int
    size: int


class Verdicts:
    """The latest decisions, up to 8 MiB of them; those that dropped some events of a batch hold the rest."""

    def __init__(self) -> None:
        self._passed: OrderedDict[_Delivery, tuple[bytes, int] | None] = OrderedDict()
        self._size = 0

    def apply(self, batch: Batch, judge: Callable[[Batch], Batch | None]) -> Batch | None:
        """Return what ``judge`` lets pass of the batch, or let pass the same as the last time."""
        if batch.origin is None:
            return judge(batch)
        delivery = _Delivery(batch.origin, batch.tag, batch.count, len(batch.entries))
        if delivery not in self._passed:
            passed = judge(batch)
            self._remember(delivery, batch, passed)
            return passed
        before = self._passed[delivery]
        if before is None:
            return batch
        return batch.with_entries(*before) if before[1] else None

    def _remember(self, delivery: _Delivery, batch: Batch, passed: Batch | None) -> None:
        kept = None if passed is batch else (passed.entries, passed.count) if passed else (b"", 0)
        self._passed[delivery] = kept
        self._size += _cost(kept)
        while self._size > _MOST_BYTES:
            self._size -= _cost(self._passed.popitem(last=False)[1])


def _cost(kept: tuple[bytes, int] | None) -> int:
    return _VERDICT_BYTES + (len(kept[0]) if kept else 0)
