"""How many files are open: no more than the process can spare, and no idle ones for long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from logflow.sources.tail.file import LogFile
from logflow.sources.tail.lane import Lane
from logflow.sources.tail.shared import Shared


class Descriptors:
    """Closes files that are idle until they grow."""

    def __init__(self, shared: Shared, lanes: Mapping[str, Lane], most: int) -> None:
        """Begin with none.

        Args:
            shared: what files work with.
            lanes: whose files are meant.
            most: how many may be open; beyond, the ones that are idle for longest are closed.
        """
        self.most = most
        self.count = 0
        """How many are open; files whose content is gone may still be in it."""
        self._shared = shared
        self._lanes = lanes
        self._warned = False

    def close_idle(self, for_s: float) -> None:
        """Close those that were quiet for so long."""
        self._suspend(self._idle(for_s))

    def make_room(self, count: int = 1) -> None:
        """Close idle files when ``count`` more are more than may be open."""
        if self.count + count > self.most:
            files = (file for lane in self._lanes.values() for file in lane.files)
            self.count = sum(file.content.fd >= 0 and not file.suspended for file in files)
        excess = self.count + count - self.most
        if excess <= 0:
            return
        if not self._warned:
            self._warned = True
            self._shared.context.log.warning(
                "%d files are open, and no more may be (see `ulimit -n`): from now on those that are idle "
                "for longest are closed until they grow.", self.count,
            )  # fmt: skip
        self._suspend(self._idle(0)[: max(excess, self.most // 8)])

    def reopen(self, file: LogFile) -> None:
        """Open a file that was closed because it was idle."""
        self.make_room()
        file.resume()
        if file.lost:
            self._shared.counters.bytes_unread(max(file.size - file.point.offset, 0))
        self.count += 1

    def _idle(self, for_s: float) -> list[LogFile]:
        """The open files that nobody reads now and that were quiet for so long; the most quiet first."""
        until_s = self._shared.context.clock.monotonic() - for_s
        lanes = (lane for lane in self._lanes.values() if not lane.running)
        files = (file for lane in lanes for file in lane.files if file.quiet_since_s <= until_s)
        idle = [file for file in files if file.content.grows and not (file.closed or file.suspended)]
        return sorted(idle, key=lambda file: file.quiet_since_s)

    def _suspend(self, files: Sequence[LogFile]) -> None:
        for file in files:
            file.suspend()
        self.count -= len(files)
