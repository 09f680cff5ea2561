"""A process that writes numbered lines as the containers of one node.

``python -m logflow.testing.writer NODE --help``: several containers (:mod:`logflow.testing.containers`)
say numbered lines (:mod:`logflow.testing.oracle`) on both streams, at a steady rate and for a given
time; the streams' pieces interleave and the files rotate. ``NODE/written.json`` says what has been
written so far.
"""

from __future__ import annotations

import argparse
import random
import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from logflow.testing.containers import PIECE_BYTES, ContainerLog, ContainerName, cri_lines
from logflow.testing.oracle import Text, numbered_line

_TICK_S = 0.01
_PROGRESS_S = 0.2
_STREAMS = ("stdout", "stderr")
_APPS = ("web", "api", "worker", "db")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written.

    Attributes:
        containers: how many containers write.
        lines_per_s: lines a second, all containers together.
        duration_s: how long they write.
        seed: the same seed gives the same texts, streams and interleaving.
        rotate_bytes: size after which a file is rotated.
        keep_files: files of a container that are kept, the current one included.
        long_share: share of lines that are longer than one piece.
    """

    containers: int = 4
    lines_per_s: float = 10_000.0
    duration_s: float = 20.0
    seed: int = 1
    rotate_bytes: int = 10 << 20
    keep_files: int = 5
    long_share: float = 0.001


class WriterProgress(msgspec.Struct):
    """What ``written.json`` holds: whole lines that are in the files."""

    written: dict[str, int]
    rotations: int = 0
    finished: bool = False

    @property
    def lines(self) -> int:
        """Lines of all series."""
        return sum(self.written.values())


def read_progress(node: Path) -> WriterProgress:
    """Read how far the writer of ``node`` has come; nothing yet before it has begun."""
    try:
        return msgspec.json.decode((node / "written.json").read_bytes(), type=WriterProgress)
    except FileNotFoundError:
        return WriterProgress({})


class _Speaker:
    """One container that says numbered lines on two streams."""

    def __init__(self, node: Path, plan: Plan, index: int, rng: random.Random) -> None:
        app = _APPS[index % len(_APPS)]
        self._name = f"{app}-{index // len(_APPS)}"
        uid = f"{rng.getrandbits(128):032x}"
        container = ContainerName("shop", self._name, app, uid, f"{rng.getrandbits(256):064x}")
        self._plan = plan
        self._rng = rng
        self._log = ContainerLog(node, container, keep_files=plan.keep_files)
        self._offset_s = (0, 2 * 3600, -int(3.5 * 3600))[index % 3]
        self._said = dict.fromkeys(_STREAMS, 0)
        self._queues: dict[str, deque[list[bytes]]] = {stream: deque() for stream in _STREAMS}
        self._renamed = False
        self.rotations = 0
        self.written = {f"{self._name}/{stream}": 0 for stream in _STREAMS}

    def say(self, text: Text) -> None:
        """Say one line; it is in the file after :meth:`flush`."""
        stream = "stderr" if self._rng.random() < 0.2 else "stdout"
        time_ns = time.time_ns()
        message = numbered_line(self._name, self._said[stream], time_ns, text)
        self._said[stream] += 1
        self._queues[stream].append(cri_lines(time_ns, stream, message, self._offset_s))

    def flush(self, *, last: bool = False) -> None:
        """Write what was said, the streams interleaved; a long line may be left in the middle."""
        block: list[bytes] = []
        open_streams = [stream for stream in _STREAMS if self._queues[stream]]
        while open_streams:
            stream = self._rng.choice(open_streams)
            queue = self._queues[stream]
            block.append(queue[0].pop(0))
            if queue[0]:
                if not last and self._rng.random() < 0.3:
                    open_streams.remove(stream)
                continue
            queue.popleft()
            self.written[f"{self._name}/{stream}"] += 1
            if not queue:
                open_streams.remove(stream)
        self._log.write(b"".join(block))
        self._rotate_if_due()

    def _rotate_if_due(self) -> None:
        if self._renamed:
            self._log.reopen()
            self._renamed = False
        elif self._log.size >= self._plan.rotate_bytes and self._log.rotate():
            self._renamed = True
            self.rotations += 1

    def close(self) -> None:
        """Write the rest, and end a rotation that has begun."""
        self.flush(last=True)
        if self._renamed:
            self._log.reopen()
        self._log.close()


class ContainerWriter:
    """Writes the containers of one node; :meth:`stop` may be called from a signal handler."""

    def __init__(self, node: Path, plan: Plan) -> None:
        node.mkdir(parents=True, exist_ok=True)
        self._node = node
        self._plan = plan
        self._rng = random.Random(plan.seed)  # noqa: S311 - repeatable, not secret
        self._speakers = [_Speaker(node, plan, index, self._rng) for index in range(plan.containers)]
        self._texts = [Text.of(text) for text in _texts(self._rng, 200, 20, 300)]
        self._long_texts = [Text.of(text) for text in _texts(self._rng, 4, PIECE_BYTES, 4 * PIECE_BYTES)]
        self._stopped = False

    def stop(self) -> None:
        """Have :meth:`run` finish what it has begun and return."""
        self._stopped = True

    def run(self) -> None:
        """Write at the plan's rate until its time is up; a writer that fell behind catches up."""
        started_s = reported_s = time.monotonic()
        said = 0
        while not self._stopped:
            elapsed_s = min(time.monotonic() - started_s, self._plan.duration_s)
            for _ in range(round(elapsed_s * self._plan.lines_per_s) - said):
                self._rng.choice(self._speakers).say(self._text())
                said += 1
            for speaker in self._speakers:
                speaker.flush()
            if elapsed_s >= self._plan.duration_s:
                break
            if time.monotonic() - reported_s >= _PROGRESS_S:
                reported_s = time.monotonic()
                self._report()
            time.sleep(_TICK_S)
        for speaker in self._speakers:
            speaker.close()
        self._report(finished=True)

    def _text(self) -> Text:
        long = self._rng.random() < self._plan.long_share
        return self._rng.choice(self._long_texts if long else self._texts)

    def _report(self, *, finished: bool = False) -> None:
        written = {series: count for speaker in self._speakers for series, count in speaker.written.items()}
        progress = WriterProgress(written, sum(speaker.rotations for speaker in self._speakers), finished)
        temporary = self._node / "written.json.tmp"
        temporary.write_bytes(msgspec.json.encode(progress))
        temporary.rename(self._node / "written.json")


def _texts(rng: random.Random, count: int, shortest: int, longest: int) -> Iterator[str]:
    words = (
        "GET",
        "/cart/42",
        "200",
        "user=ann",
        '"quoted"',
        "caf\u00e9",
        "\u65e5\u672c",
        "a\\b",
        "\U0001f980",
        "\t",
        "took",
        "17ms",
    )
    for _ in range(count):
        length = rng.randint(shortest, longest)
        text = ""
        while len(text) < length:
            text += " ".join(rng.choices(words, k=8)) + " "
        yield text[:length]


def main(argv: list[str] | None = None) -> int:
    """Write containers into a directory until the time is up or SIGTERM comes."""
    parser = argparse.ArgumentParser(description="Write numbered lines as containers of a kubelet's node.")
    parser.add_argument("node", type=Path, help="directory of the node's log files")
    defaults = Plan()
    for name in Plan.__slots__:
        default = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = vars(parser.parse_args(argv))
    writer = ContainerWriter(options.pop("node"), Plan(**options))
    signal.signal(signal.SIGTERM, lambda *_: writer.stop())
    writer.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
