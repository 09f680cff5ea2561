"""Which of several HTTP endpoints gets a chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote

from yarl import URL

from logflow.clock import Clock
from logflow.errors import DeliveryError, RetryAfter

_BACKOFF_S, _MAX_BACKOFF_S = 1.0, 30.0
_UNSURE_CHUNKS = 1024
_UNSURE_TRIES = 3


@dataclass(eq=False)
class Endpoint:
    """One destination and how it does.

    Attributes:
        url: with ``{tag}`` where the chunk's tag goes.
        failures: in a row.
        down_until_s: monotonic time until which it is left alone.
        asked: it named that time itself.
    """

    url: str
    failures: int = 0
    down_until_s: float = 0.0
    asked: bool = False

    def target(self, tag: str) -> URL:
        """The URL for chunks of a tag."""
        return URL(
            self.url.replace("{tag}", quote(tag.encode("utf-8", "backslashreplace"), safe="")), encoded=True
        )

    def __str__(self) -> str:
        return self.url.partition("?")[0]  # a query may hold a key

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
    """Endpoints in turn; those that failed rest for a while."""

    def __init__(self, urls: list[str], clock: Clock) -> None:
        self._endpoints = [Endpoint(url) for url in urls]
        self._clock = clock
        self._turn = 0
        self._unsure: dict[bytes, tuple[Endpoint, int]] = {}

    def candidates(self, chunk_id: bytes) -> Iterator[Endpoint]:
        """Endpoints to try, best first: who may have the chunk already, then those that are well, in turn.

        If none is well, the one that rests least, except those that asked to be left alone.
        """
        now_s = self._clock.monotonic()
        self._turn = (self._turn + 1) % len(self._endpoints)
        in_turn = self._endpoints[self._turn :] + self._endpoints[: self._turn]
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

    def raise_failure(self, problems: str) -> NoReturn:
        """No endpoint took the chunk: say why, and when to come again if all of them said so."""
        if all(endpoint.asked for endpoint in self._endpoints):
            delay_s = min(endpoint.down_until_s for endpoint in self._endpoints) - self._clock.monotonic()
            raise RetryAfter(problems or "every endpoint asked for a pause", max(delay_s, 0.0))
        raise DeliveryError(problems)
