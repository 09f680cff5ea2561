"""What is on its way through the filters of a route or of an output, and what became of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from logflow.batch import Batch
from logflow.receipt import Receipt
from logflow.telemetry.ledger import Account


class Way(Protocol):
    """Where events are on their way to, as far as the books are concerned."""

    @property
    def accounts(self) -> Sequence[Account]:
        """The accounts that the events have entered."""
        ...


@dataclass(slots=True)
class Flow:
    """A batch on its way, with the receipts that wait for it: one part of each is to be settled."""

    batch: Batch
    receipts: Sequence[Receipt]
    way: Way
    staged: bool = False
    """Whether it came out of a stage: then its events are in the pipeline's hands, not in the source's."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Events that are to become a dead letter, as a filter raised for them."""

    filter: str
    why: str
    batch: Batch
    way: Way


@dataclass(slots=True)
class Passage:
    """What became of a batch, besides the flows that go on.

    Attributes:
        drops: events that go no further: on which way, for which reason, how many.
        made: events that a stage made: on which way, how many.
        failed: events that are to become dead letters.
        retagged: flows whose tag a stage has changed; they are routed anew.
    """

    drops: list[tuple[Way, str, int]] = field(default_factory=list)
    made: list[tuple[Way, int]] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    retagged: list[Flow] = field(default_factory=list)

    def fail(self, way: Way, name: str, on_error: str, why: str, batch: Batch) -> None:
        """Events for which the filter ``name`` raised go no further."""
        if on_error == "dead_letter":
            self.failed.append(Failed(name, why, batch, way))
        else:
            self.drops.append((way, f"filter_error:{name}", batch.count))
