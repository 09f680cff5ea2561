"""Which server a chunk goes to.

Servers are ranked by weighted rendezvous hashing of a key (the tag, or the chunk's id): every server gets
a number that depends on the key and its own name only, and the largest wins. So

- shares follow the weights, over many keys;
- the same key goes to the same server as long as that one is up, whatever happens to the others, and in
  every process: with the tag as the key, events of one tag do not overtake each other on two ways;
- when a server fails, only its own keys move, and they spread over all others by weight.

The price of order is that one single tag loads one single server.
D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", 1998; weights after
C. Schindelhauer, G. Schomaker, "Weighted distributed hash tables", 2005.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, TypeVar

import xxhash


class Candidate(Protocol):
    """What the balancer needs to know of a server."""

    @property
    def name(self) -> str:
        """Tells the servers apart; the ranking depends on it, and not on the order of the servers."""
        ...

    @property
    def weight(self) -> int:
        """Its share; 0 takes nothing."""
        ...

    @property
    def standby(self) -> bool:
        """Used only while no other is up."""
        ...

    @property
    def up(self) -> bool:
        """Whether it is thought to work."""
        ...


C = TypeVar("C", bound=Candidate)


def score(key: bytes, name: str, weight: int) -> float:
    """Compute a server's number for a key: larger is better, in the mean in proportion to the weight."""
    bits = xxhash.xxh3_64_intdigest(len(key).to_bytes(4, "big") + key + name.encode())
    uniform = (bits + 0.5) / 2.0**64
    # Below 1.0 also where the division rounds up.
    return weight / -math.log(min(uniform, 1.0 - 2.0**-53))


def preference(key: bytes, servers: Iterable[C]) -> list[C]:
    """List the servers that may take the key, the best first, whether they are up or not."""
    return sorted(
        (server for server in servers if server.weight),
        key=lambda server: (server.standby, -score(key, server.name, server.weight)),
    )


def rank(key: bytes, servers: Iterable[C]) -> list[C]:
    """List the servers that may take the key, the best first.

    Active ones that are up come first, then standby ones that are up. Only when none is up, all are
    listed, in the same order: trying is better than waiting.
    """
    ranked = preference(key, servers)
    return [server for server in ranked if server.up] or ranked
