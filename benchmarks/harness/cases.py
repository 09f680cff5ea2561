"""Cases at full speed: a corpus goes in as fast as the subject takes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.corpus import write_corpus
from harness.ends import HARNESS
from harness.results import Run
from harness.stage import CaseStage, Job
from harness.write import container_log
from logflow.engine import load_engine
from logflow.parsers.json import JsonParser
from logflow.testing import make_context

_QUIET_S = 20.0
_POLL_S = 0.01
_FEED_CHUNK_BYTES = 1 << 20
_FEED_WINDOW = 16
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        folder: holds the subjects' configurations.
        directory: where to work.
        corpus: kind of lines, see :data:`harness.corpus.LINES`.
        source: ``files`` are tailed, or packed entries are fed by ``forward``.
        sink: where it ends: ``forward``, ``http`` or ``file``.
    """

    folder: Path
    directory: Path
    corpus: str
    source: str
    sink: str

    def run(self, job: Job) -> Run:
        """Run one subject once, from a clean start.

        Raises:
            ComponentError: the subject did not start, or ended.
        """
        corpus = self.directory / "corpora" / f"{self.corpus}-{job.size_bytes}.log"
        lines = write_corpus(self.corpus, corpus, job.size_bytes)
        input_path = corpus if self.source == "files" else _packed(corpus)
        _read_once(input_path)
        expected_bytes = 2 * job.size_bytes  # some formats are longer than the input
        with CaseStage(self.folder, self.directory, job, [self.sink], expected_bytes) as stage:
            started = stage.start(listening=self.source == "forward")
            feed = _follow(stage, input_path) if self.source == "files" else _feeder(stage, input_path)
            started_ns = time.time_ns()
            feed()
            used = stage.wait_for(lines, _QUIET_S, lambda: None, _POLL_S)
            arrived = stage.arrived()
            return stage.result(
                "speed",
                input_bytes=input_path.stat().st_size,
                events=lines,
                seconds=arrived.seconds(started_ns),
                started=started,
                used=used,
                found=stage.check({0: lines}),
            )


def _follow(stage: CaseStage, corpus: Path) -> Callable[[], None]:
    """A function that puts the corpus where the subject looks for files."""

    def follow() -> None:
        container_log(stage.work / "input", 0).symlink_to(corpus)

    return follow


def _feeder(stage: CaseStage, entries: Path) -> Callable[[], None]:
    """A function that starts to send; all that takes time is done before."""
    argv = [sys.executable, "-m", "harness.feed", str(stage.in_port)]
    feeder = subprocess.Popen(
        [*argv, str(entries), str(_FEED_CHUNK_BYTES), str(_FEED_WINDOW)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **HARNESS}, text=True,
    )  # fmt: skip
    stage.callback(feeder.wait)
    stage.callback(feeder.kill)
    assert feeder.stdin is not None
    assert feeder.stdout is not None
    feeder.stdout.readline()
    go = feeder.stdin

    def feed() -> None:
        go.write("go\n")
        go.flush()

    return feed


def _read_once(path: Path) -> None:
    """Bring a file into the page cache: reading it from the disk would burden the first subject alone."""
    with path.open("rb", buffering=0) as file:
        while file.read(_BLOCK_BYTES):
            pass


def _packed(corpus: Path) -> Path:
    """The corpus as canonical entries, made once."""
    path = corpus.with_suffix(".entries")
    if not path.exists():
        engine = load_engine()
        context = make_context(corpus.parent)
        parser = JsonParser(JsonParser.Config(type="json"), context)
        lines = engine.line_parser("cri", parser, max_line=1 << 20)
        partial = path.with_suffix(".partial")
        with corpus.open("rb") as source, partial.open("wb") as target:
            rest = b""
            while block := source.read(1 << 20):
                data = rest + block
                parsed = lines.parse(data, b"", 0)
                target.write(parsed.entries)
                rest = data[parsed.consumed :]
        partial.rename(path)
    return path
