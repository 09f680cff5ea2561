"""What became of the events of a chunk, where a store tells for each of them.

::

    taken, or known already     delivered
    refused for good            a dead letter with the store's reason; those of one reason in one letter
    not now                     tried again, alone, under the same names

``split`` finds the events that a store refuses if it says so of whole requests only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from logflow.batch import Chunk, PartialDelivery, Places
from logflow.engine.api import Engine
from logflow.errors import DeliveryError, PermanentError

_MOST_LETTERS = 16
"""Letters for one answer about one chunk; the events of further reasons share one."""


def outcome(
    chunk: Chunk, refused: Mapping[int, str], again: Sequence[int], why: str, engine: Engine
) -> Exception | None:
    """Make the result for a chunk.

    Args:
        chunk: what was sent.
        refused: events that the store will never take, by their index in the chunk, with its reason.
        again: indices of those that it may take later, in order.
        why: what is said of those.
        engine: finds where events begin.
    """
    if not refused:
        if not again:
            return None
        if len(again) == chunk.count:
            return DeliveryError(why)
    reasons = _by_reason(refused)
    if not again and len(reasons) == 1 and len(refused) == chunk.count:
        return PermanentError(next(iter(reasons)))
    bounds = [*engine.offsets(chunk.entries), chunk.size]
    rest = _select(chunk, again, bounds) if again else None
    letters = [(_select(chunk, indices, bounds), reason) for reason, indices in reasons.items()]
    return PartialDelivery(why or next(iter(reasons)), rest, letters)


def split(chunk: Chunk, engine: Engine) -> tuple[Chunk, Chunk]:
    """Halve a chunk of several events by their number; both are named as parts of it."""
    bounds = [*engine.offsets(chunk.entries), chunk.size]
    middle = chunk.count // 2
    return (
        _select(chunk, range(middle), bounds),
        _select(chunk, range(middle, chunk.count), bounds),
    )


def joined(parts: Sequence[Chunk]) -> Chunk:
    """Put parts of one chunk together again, in this order."""
    places = [chunk.places for chunk in parts]
    return replace(
        parts[0],
        parts=tuple(entries for chunk in parts for entries in chunk.parts),
        count=sum(chunk.count for chunk in parts),
        part=Places(places[0].chunk, [index for place in places for index in place.indices]),
    )


def _by_reason(refused: Mapping[int, str]) -> dict[str, list[int]]:
    reasons: defaultdict[str, list[int]] = defaultdict(list)
    others: list[int] = []
    for index, reason in sorted(refused.items()):
        if reason in reasons or len(reasons) < _MOST_LETTERS - 1:
            reasons[reason].append(index)
        else:
            others.append(index)
    if others:
        reasons[f"{refused[others[0]]} (and other reasons for other events)"] = others
    return dict(reasons)


def _select(chunk: Chunk, indices: Sequence[int], bounds: Sequence[int]) -> Chunk:
    """A part of a chunk; neighbours stay together in one piece of bytes."""
    entries = chunk.entries
    runs: list[tuple[int, int]] = []
    breaks = [at for at, (a, b) in enumerate(pairwise(indices), start=1) if b != a + 1]
    for first, last in pairwise([0, *breaks, len(indices)]):
        runs.append((bounds[indices[first]], bounds[indices[last - 1] + 1]))
    parts = tuple(entries[start:end] for start, end in runs)
    return replace(chunk, parts=parts, count=len(indices), part=chunk.places.select(indices))
