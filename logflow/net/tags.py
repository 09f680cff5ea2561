"""A bound on the number of different tags, which are nearly free for a sender and cost every buffer."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context

FALLBACK = "overflow"
"""Tag of events whose own tag is one too many; it becomes their field ``tag``."""

MaxTags = Annotated[
    int,
    Field(
        ge=1,
        description=f"Most tags within an hour; events of others get the tag `{FALLBACK}` and their own "
        "as the field `tag`, and are counted.",
    ),
]
"""An option of every source whose tags are chosen by strangers."""

DEFAULT_MAX_TAGS = 50_000
_FORGOTTEN_S = 3600.0


class Tags:
    """The tags that came lately; one that did not come for an hour or two makes room for another."""

    def __init__(self, most: int, context: Context) -> None:
        """Let ``most`` tags through, and count the events of others."""
        self._most = most
        self._engine = context.engine
        self._now = context.clock.monotonic
        self._overflowed = context.counter(
            "tags_overflowed", f"Events over max_tags; they got the tag `{FALLBACK}`."
        )
        self._recent: set[str] = set()
        self._older: set[str] = set()
        self._since_s = self._now()

    def limit(self, batch: Batch) -> Batch:
        """Return the batch; with another tag if its own is one too many."""
        if self.admits(batch.tag, batch.count):
            return batch
        entries = self._engine.splice(batch.entries, {"tag": batch.tag})
        return replace(batch, tag=FALLBACK, entries=entries)

    def admits(self, tag: str, events: int) -> bool:
        """Whether a tag may be used; if not, its events are counted."""
        if tag in self._recent or tag == FALLBACK:
            return True
        now_s = self._now()
        if now_s - self._since_s >= _FORGOTTEN_S:
            self._older, self._recent, self._since_s = self._recent, set(), now_s
        if tag not in self._older and len(self._recent) + len(self._older) >= self._most:
            self._overflowed(events)
            return False
        self._older.discard(tag)
        self._recent.add(tag)
        return True
