"""The engine's interface for events in groups, and for what is found out over many of them.

``admit``, ``grouping`` and the others that make these are functions of :class:`logflow.engine.api.Engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from logflow.expressions import Expression


class Groups(NamedTuple):
    """Events in groups, by what expressions give for them."""

    keys: list[bytes]
    """For each group, in the order of their first events, the packed array of what the expressions gave."""
    counts: list[int]
    """For each group, the number of its events."""
    sizes: list[int]
    """For each group, the bytes of its entries."""
    ids: bytes
    """For each event, the number of its group: four bytes, little-endian."""


class Grouping(Protocol):
    """Compiled expressions that put events into groups; may be used from any thread."""

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> Groups:
        """Put events into groups: those together for which every expression gives the same packed value."""
        ...


class Admitted(NamedTuple):
    """What was let through of events in groups."""

    entries: bytes
    """The input itself if all were let through."""
    events: int
    taken: list[int]
    """For each group, what was taken of its allowance; more than that by at most one event."""
    refused: list[int]
    """For each group, the number of events that were not let through."""


class Placement(Protocol):
    """Compiled paths at which values are put, for each group its own; may be used from any thread."""

    def apply(self, entries: bytes, ids: bytes, values: Sequence[Sequence[bytes]]) -> bytes:
        """Return the entries with the values of each event's group put at the paths.

        They are put as :meth:`Engine.modify` puts them. Where all that is to be put is nothing, the entry
        stays byte for byte as it is.

        Args:
            entries: canonical entries.
            ids: :attr:`Groups.ids` of them.
            values: for each group, a packed value for each path; empty bytes put nothing.

        Raises:
            MalformedData: there are fewer ids than entries, or one of a group that is not there.
        """
        ...


@dataclass(frozen=True)
class Measure:
    """What is to be counted of events.

    Attributes:
        labels: events are told apart by what these give.
        value: what is added up; 1 for each event unless given.
        condition: only events for which this is true count.
        bounds: upper bounds of intervals, increasing, in which values are counted.
        signed: whether values below 0 count.
    """

    labels: Sequence[Expression] = ()
    value: Expression | None = None
    condition: Expression | None = None
    bounds: Sequence[float] = ()
    signed: bool = False


class Series(NamedTuple):
    """What was counted of events with the same labels."""

    key: bytes
    """The packed array of what the labels gave."""
    events: int
    sum: float
    last: float
    buckets: Sequence[int]
    """How many values lie in each interval, below or at its bound; one more for those above the last."""


class Tallied(NamedTuple):
    """What was counted of a batch for one measure."""

    series: Sequence[Series]
    skipped: int
    """Events whose value is no finite number, or is below 0 where that does not count."""


class Tally(Protocol):
    """Compiled measures; may be used from any thread."""

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> list[Tallied]:
        """Count events, for each measure."""
        ...


class Repeated(NamedTuple):
    """An event that was repeated."""

    tag: str
    entry: bytes
    """Its first repeat."""
    repeats: int


class Repeats(Protocol):
    """A memory of events; may be used from any thread, one at a time."""

    def apply(
        self, entries: bytes, tag: str, source: str | None, now_ns: int, at_ns: int
    ) -> tuple[bytes, int]:
        """Return the events that are no repeats, and their number.

        An event for which every expression gives None is a repeat of none.

        ``at_ns`` is a monotonic time: by it events are forgotten again.
        """
        ...

    def ended(self, at_ns: int | None) -> list[Repeated]:
        """What was repeated and has ended at a monotonic time, since this was last asked; None: all ends.

        At most 16 MiB of entries are kept for this; repeats beyond that are not told of.
        """
        ...

    def forgotten(self) -> int:
        """How many events were forgotten early so far, as there were too many."""
        ...


class Miner(Protocol):
    """A memory of the templates of messages; may be used from any thread, one at a time.

    Words are what stands between blanks; those with digits count as different each time. The first 2 KiB
    and 100 words of a message are looked at. See He et al., "Drain: An Online Log Parsing Approach with Fixed
    Depth Tree" (2017).
    """

    def apply(
        self, entries: bytes, tag: str, source: str | None, now_ns: int
    ) -> tuple[bytes, list[tuple[int, bytes]]]:
        """Learn from events.

        Returns:
            The ids of groups, as in :attr:`Groups.ids`, and for each group the id and text of its template.
            The first group is that of events without a message.
        """
        ...

    def dump(self) -> list[tuple[int, list[bytes]]]:
        """All templates, each as its id and words; those that were used last at the end."""
        ...

    def load(self, kept: Sequence[tuple[int, Sequence[bytes]]]) -> None:
        """Know templates that were kept, in this order, as far as there is room."""
        ...

    def counts(self) -> tuple[int, int]:
        """How many templates were found so far, and how many of them were forgotten."""
        ...
