"""Counters that components keep, by component; ``prometheus.py`` exports them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class CounterCell:
    """One counter of one component; call it to add."""

    name: str
    help: str
    kind: str
    component: str
    value: int = 0

    def __call__(self, amount: int = 1) -> None:
        """Add ``amount``."""
        self.value += amount


class Metrics:
    """Every counter of the process."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, str], CounterCell] = {}

    def counter(self, kind: str, component: str, name: str, help_text: str) -> CounterCell:
        """Find or make the counter ``name`` of a component."""
        key = (kind, component, name)
        if key not in self._cells:
            self._cells[key] = CounterCell(name, help_text, kind, component)
        return self._cells[key]

    def counters(self) -> list[CounterCell]:
        """Every counter, in the order in which they were made."""
        return list(self._cells.values())
