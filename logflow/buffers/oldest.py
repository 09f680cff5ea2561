"""What has waited longest, without looking at everything that waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable


class Ages:
    """Since when the oldest of many things has waited, to the second.

    Things are counted by the second of their arrival, so an outage of a day costs some 10 MB whatever waits.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {}
        """By second of arrival: how many wait, and when the first of them came."""

    def add(self, since_s: float) -> None:
        """Something waits since ``since_s``; later ones are added later."""
        second = self._seconds.get(int(since_s))
        if second is None:
            self._seconds[int(since_s)] = [1, since_s]
        else:
            second[0] += 1

    def remove(self, since_s: float) -> None:
        """It waits no longer."""
        second = self._seconds[int(since_s)]
        second[0] -= 1
        if not second[0]:
            del self._seconds[int(since_s)]

    @property
    def oldest_s(self) -> float | None:
        """Since when the oldest waits, at most a second too early; ``None`` if nothing waits."""
        return next(iter(self._seconds.values()))[1] if self._seconds else None


class Fronts:
    """Which of many queues begins with the lowest number, though queues come, go and move on all the time.

    Whenever a queue begins with another number than before, that is pushed; what is out of date is left out
    when it comes up, and swept away when there is much of it.
    """

    def __init__(self, number_of: Callable[[str], int | None]) -> None:
        """Ask ``number_of`` with what number a queue begins now; ``None`` if it has nothing."""
        self._number_of = number_of
        self._fronts: list[tuple[int, str]] = []

    def push(self, number: int, queue: str) -> None:
        """The queue begins with ``number`` now."""
        heapq.heappush(self._fronts, (number, queue))

    def sweep(self, queues: Iterable[str], count: int) -> None:
        """Forget what is out of date, if it may be more than the ``count`` queues that there are."""
        if len(self._fronts) > 2 * count + 1000:
            numbers = ((self._number_of(queue), queue) for queue in queues)
            self._fronts = [(number, queue) for number, queue in numbers if number is not None]
            heapq.heapify(self._fronts)

    def first(self) -> str | None:
        """The queue that begins with the lowest number; ``None`` if none has anything."""
        while self._fronts:
            number, queue = self._fronts[0]
            if self._number_of(queue) == number:
                return queue
            heapq.heappop(self._fronts)
        return None
