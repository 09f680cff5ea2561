"""A node: pods that speak and are deleted, and a kubelet that rotates their files.

::

    rename 0.log ──► up to two seconds: the container still writes to the renamed file ──► it opens a new one
    at the same time: what is too old is removed, all rotated files but the newest are compressed

An event may begin in one file and end in the next one: a message whose P pieces are in the one and whose F
is in the other, or a stack trace.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from logflow.testing.containers import ContainerLog, ContainerName, cri_lines
from tools.kubelet.speech import Event, Speaker

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class Plan:
    """What happens on the node.

    Attributes:
        pods: how many there are at each time.
        events_per_s: of all pods together.
        seed: the same seed gives the same events and decisions.
        rotate_s: time between two rotations of a file.
        lag_s: longest time until a rotated file is opened anew.
        keep_files: files of a container that are kept, the current one included.
        delete_s: time between two deletions of a pod; another one takes its place.
    """

    pods: int = 20
    events_per_s: float = 200.0
    seed: int = 1
    rotate_s: float = 1.0
    lag_s: float = 2.0
    keep_files: int = 5
    delete_s: float = 3.0


@dataclass
class Written:
    """An event that is in files.

    Attributes:
        event: what was said.
        files: numbers of the files that hold it; the first file of a container is 0.
        pod: of that pod.
        size: bytes of its lines in the files.
    """

    event: Event
    files: set[int]
    pod: Pod
    size: int = 0

    @property
    def gone(self) -> bool:
        """Whether a file that held something of it was removed."""
        return self.pod.deleted or min(self.files) < self.pod.oldest


class Pod:
    """A pod of one container."""

    def __init__(self, node: Path, name: str, plan: Plan, rng: random.Random, now_s: float) -> None:
        self.name = name
        container = ContainerName(
            "shop", name, "app", f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(256):064x}"
        )
        self.log = ContainerLog(node, container, keep_files=plan.keep_files)
        self._node = node
        self._plan = plan
        self._rng = rng
        self._link = next((node / "containers").glob(f"{name}_*"))
        self._speakers = {stream: Speaker(f"{name}/{stream}", rng) for stream in STREAMS}
        self._queues: dict[str, deque[tuple[Written, list[bytes]]]] = {s: deque() for s in STREAMS}
        self._rotate_at_s = now_s + rng.random() * plan.rotate_s
        self._reopen_at_s: float | None = None
        self._file = 0
        self.oldest = 0
        self.rotations = 0
        self.deleted = False
        self.written: list[Written] = []

    def say(self) -> None:
        """Say an event; it is in the file after :meth:`write`."""
        stream = self._rng.choice(STREAMS)
        event = self._speakers[stream].say()
        time_ns = time.time_ns()
        pieces = [piece for line in event.lines for piece in cri_lines(time_ns, stream, line.encode())]
        self._queues[stream].append((Written(event, set(), self), pieces))

    def write(self, now_s: float, *, all_of_it: bool = False) -> None:
        """Write what was said, the streams interleaved; some of it may be left for the next file."""
        reopens = self._reopen_at_s is not None and now_s >= self._reopen_at_s
        block: list[bytes] = []
        rest = not all_of_it and reopens
        streams = [stream for stream in STREAMS if self._queues[stream]]
        while streams:
            stream = self._rng.choice(streams)
            written, pieces = self._queues[stream][0]
            if rest and written.files and self._rng.random() < 0.5:
                streams.remove(stream)  # the event ends in the next file
                continue
            block.append(pieces.pop(0))
            written.files.add(self._file)
            written.size += len(block[-1])
            if not pieces:
                self.written.append(written)
                self._queues[stream].popleft()
            if not self._queues[stream]:
                streams.remove(stream)
        if block:
            self.log.write(b"".join(block))
        if reopens:
            self._reopen()
            self.write(now_s)
        elif self._reopen_at_s is None and now_s >= self._rotate_at_s and self.log.rotate():
            self._rotate(now_s)

    def _rotate(self, now_s: float) -> None:
        self.rotations += 1
        rotated = len(list(self.log.path.parent.glob("0.log.*")))
        self.oldest = self._file + 1 - rotated
        self._reopen_at_s = now_s + self._rng.random() * self._plan.lag_s
        self._rotate_at_s = now_s + self._plan.rotate_s

    def _reopen(self) -> None:
        self.log.reopen()
        self._file += 1
        self._reopen_at_s = None

    def delete(self) -> None:
        """Remove its link and its files, as the kubelet does with those of a pod that was deleted."""
        self._end()
        self.deleted = True
        self._link.unlink()
        shutil.rmtree(self.log.path.parent.parent)

    def _end(self) -> None:
        self.write(time.monotonic(), all_of_it=True)
        if self._reopen_at_s is not None:
            self._reopen()
        self.log.close()

    def close(self) -> None:
        """Say no more; the files stay."""
        self._end()


@dataclass
class Node:
    """All pods of a node."""

    directory: Path
    plan: Plan
    pods: list[Pod] = field(default_factory=list)
    deleted: list[Pod] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._rng = random.Random(self.plan.seed)
        self._began_s = self._deleted_s = time.monotonic()
        self._made = self._said = 0
        for _ in range(self.plan.pods):
            self._make()

    def _make(self) -> None:
        name = f"web-{self._made}"
        self._made += 1
        self.pods.append(Pod(self.directory, name, self.plan, self._rng, time.monotonic()))

    def tick(self) -> None:
        """Let happen what is due."""
        now_s = time.monotonic()
        due = int((now_s - self._began_s) * self.plan.events_per_s)
        for _ in range(due - self._said):
            self._rng.choice(self.pods).say()
        self._said = due
        for pod in self.pods:
            pod.write(now_s)
        if now_s - self._deleted_s >= self.plan.delete_s:
            self._deleted_s = now_s
            pod = self.pods.pop(self._rng.randrange(len(self.pods)))
            pod.delete()
            self.deleted.append(pod)
            self._make()

    def close(self) -> None:
        """Let all pods finish; what is there stays."""
        for pod in self.pods:
            pod.close()

    def written(self) -> Iterator[Written]:
        """Every event that was written, of pods that are gone too."""
        for pod in [*self.pods, *self.deleted]:
            yield from pod.written

    @property
    def rotations(self) -> int:
        """How often a file was rotated."""
        return sum(pod.rotations for pod in [*self.pods, *self.deleted])
