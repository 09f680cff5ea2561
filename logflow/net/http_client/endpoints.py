"""Which of several HTTP endpoints gets a request."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from yarl import URL

from logflow.clock import Clock
from logflow.errors import DeliveryError, RetryAfter

_BACKOFF_S, _MAX_BACKOFF_S = 1.0, 30.0
_UNSURE_CHUNKS = 1024
_UNSURE_TRIES = 3
_HELD_TAGS = 1024


@dataclass(eq=False)
class Endpoint:
    """One destination and how it does.

    Attributes:
        url: with ``{tag}`` where the chunk's tag goes.
        held_since_s: since when its answers have been held, by tag; under ``""`` if it has one URL.
        failures: in a row.
        down_until_s: monotonic time until which it is left alone.
        asked: it named that time itself.
    """

    url: str
    held_since_s: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    down_until_s: float = 0.0
    asked: bool = False

    def target(self, tag: str, path: str = "") -> URL:
        """The URL for chunks of a tag: what was configured, and ``path`` with its query behind it."""
        text = self.url.replace("{tag}", quote(tag.encode("utf-8", "backslashreplace"), safe=""))
        if path:
            own, _, own_query = text.partition("?")
            more, _, query = path.partition("?")
            text = own.rstrip("/") + more + "?" * bool(own_query or query)
            text += "&".join(filter(None, (own_query, query)))
        return URL(text, encoded=True)

    def shown(self, tag: str) -> str:
        """Name the destination in a message."""
        return str(self.target(tag)).partition("?")[0]  # a query may hold a key

    @property
    def by_tag(self) -> bool:
        """Whether each tag has a URL of its own, whose answers say nothing about the others."""
        return "{tag}" in self.url.partition("?")[0]

    def hold(self, tag: str, now_s: float) -> None:
        """It answered in a way that is held."""
        place = tag if self.by_tag else ""
        if len(self.held_since_s) < _HELD_TAGS or place in self.held_since_s:
            self.held_since_s.setdefault(place, now_s)

    def held_s(self, tag: str, now_s: float) -> float:
        """For how long its answers have been held; negative if the last one was not."""
        return now_s - self.held_since_s.get(tag if self.by_tag else "", math.inf)

    def let_go(self, tag: str) -> None:
        """It answered in another way."""
        self.held_since_s.pop(tag if self.by_tag else "", None)

    def works(self) -> None:
        """It answered as it should."""
        self.failures, self.down_until_s, self.asked = 0, 0.0, False

    def fails(self, now_s: float, asked_s: float | None = None) -> None:
        """Leave it alone: for as long as it asked, or longer each time."""
        backoff_s = min(_BACKOFF_S * 2**self.failures, _MAX_BACKOFF_S)
        self.failures = min(self.failures + 1, 10)
        self.asked = asked_s is not None
        self.down_until_s = now_s + (backoff_s if asked_s is None else asked_s)


class EndpointPool:
    """Endpoints in turn; those that failed rest for a while.

    Attributes:
        endpoints: all of them, as configured.
    """

    def __init__(self, urls: list[str], clock: Clock) -> None:
        self.endpoints = [Endpoint(url) for url in urls]
        self._clock = clock
        self._turn = 0
        self._unsure: dict[bytes, tuple[Endpoint, int]] = {}

    def candidates(self, chunk_id: bytes) -> Iterator[Endpoint]:
        """Endpoints to try, best first: who may have the chunk already, then those that are well, in turn.

        If none is well, the one that rests least, except those that asked to be left alone.
        """
        now_s = self._clock.monotonic()
        self._turn = (self._turn + 1) % len(self.endpoints)
        in_turn = self.endpoints[self._turn :] + self.endpoints[: self._turn]
        first = self._unsure[chunk_id][0] if chunk_id in self._unsure else None
        chosen = [
            endpoint for endpoint in in_turn if endpoint.down_until_s <= now_s and endpoint is not first
        ]
        if first is not None:
            chosen.insert(0, first)
        if not chosen:
            resting = [endpoint for endpoint in in_turn if not endpoint.asked]
            chosen = sorted(resting, key=lambda endpoint: endpoint.down_until_s)[:1]
        return iter(chosen)

    def failed(self, endpoint: Endpoint, asked_s: float | None = None) -> None:
        """Leave an endpoint alone for a while."""
        endpoint.fails(self._clock.monotonic(), asked_s)

    def is_unsure(self, chunk_id: bytes, endpoint: Endpoint) -> None:
        """The endpoint may have stored the chunk: ask it first next time, though not for ever."""
        _, tries = self._unsure.pop(chunk_id, (endpoint, 0))
        if tries + 1 < _UNSURE_TRIES:
            self._unsure[chunk_id] = (endpoint, tries + 1)
        if len(self._unsure) > _UNSURE_CHUNKS:
            del self._unsure[next(iter(self._unsure))]

    def is_sure(self, chunk_id: bytes) -> None:
        """What became of the chunk is known."""
        self._unsure.pop(chunk_id, None)

    def held_by_all(self, tag: str, at_least_s: float) -> bool:
        """Whether every endpoint has answered in a way that is held, for so long."""
        now_s = self._clock.monotonic()
        return all(endpoint.held_s(tag, now_s) >= at_least_s for endpoint in self.endpoints)

    def failure(self, problems: str) -> DeliveryError:
        """Make the error for a request that no endpoint took; it has a time if all asked for a pause."""
        if all(endpoint.asked for endpoint in self.endpoints):
            delay_s = min(endpoint.down_until_s for endpoint in self.endpoints) - self._clock.monotonic()
            return RetryAfter(problems or "every endpoint asked for a pause", max(delay_s, 0.0))
        return DeliveryError(problems)
