"""The cases: what goes in, what comes out, and how long it took."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.check import check
from harness.corpus import write_corpus
from harness.measure import Usage, usage
from harness.receive import Progress
from harness.report import Run
from harness.subjects import Subject
from logflow.engine import load_engine
from logflow.parsers.json import JsonParser
from logflow.testing import make_context
from logflow.testing.processes import Process, free_ports

_HARNESS = {"PYTHONPATH": str(Path(__file__).parents[1])}
_START_S = 30.0
_RUN_S = 600.0
_POLL_S = 0.01
_FEED_CHUNK_BYTES = 1 << 20
_FEED_WINDOW = 16


@dataclass
class Case:
    """One case.

    Attributes:
        folder: holds the subjects' configurations.
        directory: where to work.
        size_bytes: about how much input to use.
        corpus: kind of lines, see :data:`harness.corpus.LINES`.
        source: ``files`` are tailed, or packed entries are fed by ``forward``.
        sink: where it ends: ``forward``, ``http`` or ``file``.
    """

    folder: Path
    directory: Path
    size_bytes: int
    corpus: str
    source: str
    sink: str

    def run(self, subject: Subject) -> Run:
        """Run one subject once, from a clean start."""
        corpus = self.directory / "corpora" / f"{self.corpus}-{self.size_bytes}.log"
        lines = write_corpus(self.corpus, corpus, self.size_bytes)
        input_path = corpus if self.source == "files" else _packed(corpus)
        work = self.directory / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        with ExitStack() as stack:
            ports = free_ports(3)
            env = {
                "BENCH_INPUT": str(work / "input" / "*.log"),
                "BENCH_WORK": str(work),
                "BENCH_IN_PORT": str(ports[0]),
                "BENCH_OUT_PORT": str(ports[1]),
            }
            end = self._open_end(stack, work, ports[1])
            process = Process(
                subject.name,
                subject.argv(self.folder / subject.config),
                log=work / "subject.log",
                env={**env, **subject.env},
            )
            feeder = self._open_feeder(stack, input_path, ports[0])
            process.start()
            stack.callback(process.kill)
            self._wait_until_ready(process, ports[0])
            started = usage(process.pid)
            started_ns = time.time_ns()
            if feeder is None:
                (work / "input").mkdir()
                (work / "input" / "app.log").symlink_to(input_path)
            else:
                feeder()
            used, first_ns, last_ns = self._wait_for_end(end, process, lines)
        seconds = (last_ns - (started_ns if self.sink == "file" else first_ns)) / 1e9
        files = sorted(work.glob("end*.data")) or sorted((work / "out").rglob("*"))
        found = check([path for path in files if path.is_file()], {0: lines}, packed=self.sink == "forward")
        return Run(
            self.folder.name, subject.name, input_path.stat().st_size, lines, max(seconds, 1e-6),
            used.cpu_s, started.cpu_s, used.peak_bytes, found,
        )  # fmt: skip

    def _open_end(self, stack: ExitStack, work: Path, port: int) -> Callable[[], tuple[int, int, int]]:
        """Start what receives; the result says (events, first ns, latest ns) so far."""
        if self.sink == "file":
            (work / "out").mkdir()
            return FileProgress(work / "out").read
        return open_receiver(stack, work, self.sink, port)

    def _open_feeder(self, stack: ExitStack, entries: Path, port: int) -> Callable[[], None] | None:
        if self.source == "files":
            return None
        argv = [
            sys.executable, "-m", "harness.feed", str(port),
            str(entries), str(_FEED_CHUNK_BYTES), str(_FEED_WINDOW),
        ]  # fmt: skip

        def feed() -> None:
            feeder = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **_HARNESS}, text=True
            )
            stack.callback(feeder.wait)
            stack.callback(feeder.kill)
            assert feeder.stdin is not None
            assert feeder.stdout is not None
            feeder.stdout.readline()
            feeder.stdin.write("go\n")
            feeder.stdin.flush()

        return feed

    def _wait_until_ready(self, process: Process, port: int) -> None:
        if self.source == "forward":
            process.wait_for(lambda: listens(port), f"listen on {port}", _START_S)
        else:
            time.sleep(1.5)  # a tail says nothing when it is ready

    def _wait_for_end(
        self, end: Callable[[], tuple[int, int, int]], process: Process, lines: int
    ) -> tuple[Usage, int, int]:
        deadline_s = time.monotonic() + _RUN_S
        while True:
            events, first_ns, last_ns = end()
            used = usage(process.pid)
            if events >= lines or time.monotonic() > deadline_s or not process.running:
                return used, first_ns, last_ns
            time.sleep(_POLL_S)


class FileProgress:
    """Counts the lines of the files below a directory as they grow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self._lines = 0
        self._first_ns = self._last_ns = 0

    def read(self) -> tuple[int, int, int]:
        """(lines, first ns, latest ns) so far."""
        for path in self._directory.rglob("*"):
            if not path.is_file():
                continue
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                while block := file.read(8 << 20):
                    self._read[path] = self._read.get(path, 0) + len(block)
                    self._lines += block.count(b"\n")
                    self._last_ns = time.time_ns()
                    self._first_ns = self._first_ns or self._last_ns
        return self._lines, self._first_ns, self._last_ns


def _packed(corpus: Path) -> Path:
    """The corpus as canonical entries, made once."""
    path = corpus.with_suffix(".entries")
    if not path.exists():
        engine = load_engine()
        context = make_context(corpus.parent)
        parser = JsonParser(JsonParser.Config(type="json"), context)
        lines = engine.line_parser("cri", parser, max_line=1 << 20)
        with corpus.open("rb") as source, path.open("wb") as target:
            rest = b""
            while block := source.read(1 << 20):
                data = rest + block
                parsed = lines.parse(data, b"", 0)
                target.write(parsed.entries)
                rest = data[parsed.consumed :]
    return path


def listens(port: int) -> bool:
    """Whether a process listens on a TCP port, told without connecting to it."""
    hexadecimal = f":{port:04X} "
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    return any(
        line.split()[1].endswith(hexadecimal.strip()) and line.split()[3] == "0A"
        for table in tables
        if table.exists()
        for line in table.read_text().splitlines()[1:]
    )


def open_receiver(
    stack: ExitStack, work: Path, protocol: str, port: int
) -> Callable[[], tuple[int, int, int]]:
    """Start a receiver; the result says (events, first ns, latest ns) so far."""
    argv = [sys.executable, "-m", "harness.receive", protocol, str(port), str(work / "end")]
    receiver = Process("receiver", argv, log=work / "receiver.log", env=_HARNESS)
    receiver.start()
    stack.callback(receiver.kill)
    receiver.wait_for(lambda: listens(port), f"listen on {port}", _START_S)
    return Progress(work / "end.progress").read


def _case(corpus: str, source: str, sink: str) -> Callable[[Path, Path, int], Case]:
    return partial(Case, corpus=corpus, source=source, sink=sink)


CASES: dict[str, Callable[[Path, Path, int], Case]] = {
    "cri_json_to_forward": _case("cri_json", "files", "forward"),
    "docker_json_to_forward": _case("docker_json", "files", "forward"),
    "plain_json_to_forward": _case("plain_json", "files", "forward"),
    "nginx_regex_to_forward": _case("nginx", "files", "forward"),
    "forward_to_file": _case("cri_json", "forward", "file"),
    "forward_to_forward": _case("cri_json", "forward", "forward"),
    "forward_to_http": _case("cri_json", "forward", "http"),
}
