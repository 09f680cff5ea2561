"""The ledger: every event that was read is delivered, waiting, or dropped for a named reason.

One account per route and output. Each of its three moves keeps the balance, so that
``read = delivered + waiting + dropped`` holds at every moment; tests assert it, ``/metrics`` and
``/api/status`` show it, and it is printed on exit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Account:
    """What became of the events that one route sent to one output.

    Attributes:
        route: the route's pattern, or ``(none)`` for events that no route wants.
        output: the output's name, or ``(none)``.
        read: events that entered, recovered ones from a disk buffer among them.
        delivered: events that the output delivered.
        waiting: events on their way or in the buffer.
        dropped: events by the reason for which they went no further.
    """

    route: str
    output: str
    read: int = 0
    delivered: int = 0
    waiting: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def enter(self, events: int) -> None:
        """Events were read and are on their way."""
        self.read += events
        self.waiting += events

    def deliver(self, events: int) -> None:
        """Waiting events were delivered."""
        self.waiting -= events
        self.delivered += events

    def drop(self, events: int, reason: str) -> None:
        """Waiting events go no further, for a named reason."""
        if events:
            self.waiting -= events
            self.dropped[reason] += events

    def give_back(self, events: int) -> None:
        """Waiting events were not taken over; their source still holds them and will read them again."""
        self.waiting -= events
        self.read -= events

    @property
    def balanced(self) -> bool:
        """Whether nothing is unaccounted for."""
        return self.waiting >= 0 and self.read == self.delivered + self.waiting + self.dropped.total()

    def as_dict(self) -> dict[str, Any]:
        """The account as plain values, for JSON."""
        return {
            "route": self.route,
            "output": self.output,
            "read": self.read,
            "delivered": self.delivered,
            "waiting": self.waiting,
            "dropped": dict(self.dropped),
        }


class Ledger:
    """All accounts."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], Account] = {}

    def account(self, route: str, output: str) -> Account:
        """Find or open the account of a route and an output."""
        key = (route, output)
        if key not in self._accounts:
            self._accounts[key] = Account(route, output)
        return self._accounts[key]

    def accounts(self) -> list[Account]:
        """Every account, in the order in which they were opened."""
        return list(self._accounts.values())

    @property
    def balanced(self) -> bool:
        """Whether nothing is unaccounted for in any account."""
        return all(account.balanced for account in self._accounts.values())


def ledger_table(ledger: Ledger) -> Iterator[str]:
    """The ledger as lines of text: what became of every event."""
    for account in ledger.accounts():
        if not account.read:
            continue
        dropped = ", ".join(f"{events} {reason}" for reason, events in sorted(account.dropped.items()))
        yield (
            f"Route {account.route} to {account.output}: {account.read} read = {account.delivered} delivered"
            f" + {account.waiting} waiting + {account.dropped.total()} dropped"
            f"{f' ({dropped})' if dropped else ''}."
        )
