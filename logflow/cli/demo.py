"""Run the whole pipeline on this machine and say whether every line arrived, once.

Containers write numbered lines, an agent reads them and forwards them to two aggregators, which write
files and send to two HTTP sinks; all of them are processes of their own on 127.0.0.1. Half-way one
aggregator is killed with SIGKILL and started again. At the end the lines that arrived are compared
with those that were written. Exit status 1: a line was lost, doubled, damaged or out of order, or
something did not run as it should.
"""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from logflow.cli.live import LiveView
from logflow.cli.version import version_line
from logflow.errors import ComponentError

if TYPE_CHECKING:
    from logflow.testing.local import LocalPipeline
    from logflow.testing.oracle import DeliveryVerdict
    from logflow.testing.processes import Process
    from logflow.testing.writer import Plan

_DRAIN_S = 15.0
"""Longest wait for lines that are on their way when the writer has ended."""
_STOP_S = 10.0
_DOWN_S = 2.0
"""How long the killed aggregator stays down; a tenth of the duration if that is less."""
_SHADOW_NS = 1_000_000_000
"""Lines written this shortly before the kill may have waited for the aggregator to come back."""
_LINE_BYTES = 350
"""Rough size of a line in a container's file."""
_POLL_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--duration", type=_number, default=20.0, metavar="S", help="seconds of writing")
    parser.add_argument("--rate", type=_number, default=10_000.0, metavar="N", help="lines a second in all")
    parser.add_argument(
        "--containers", type=int, default=8, choices=range(1, 101), metavar="N",
        help="how many containers write, 1 to 100",
    )  # fmt: skip
    parser.add_argument(
        "--dir", type=Path, help="where all files are kept; a new temporary directory if not given"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed gives the same texts and interleaving"
    )
    parser.add_argument("--no-kill", action="store_true", help="let both aggregators live")


def _number(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    from logflow.testing.local import LocalPipeline

    directory = _directory(args.dir)
    plan = _plan(args)
    signal.signal(signal.SIGTERM, _interrupt)
    print(
        f"{version_line()}\n"
        f"{plan.containers} containers write {plan.lines_per_s:,.0f} lines/s for {plan.duration_s:g} s:\n"
        "container logs -> agent -> 2 aggregators -> files and 2 HTTP sinks.\n"
        f"Everything is kept in {directory}\n",
        flush=True,
    )
    with LocalPipeline(directory) as pipeline:
        pipeline.start()
        demo = _Demo(pipeline, plan, kill=not args.no_kill)
        demo.play()
        return 0 if demo.judge() else 1


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's
    raise KeyboardInterrupt  # SIGTERM ends the children on its way out, as Ctrl-C does


def _directory(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="logflow-demo-"))
    wanted = wanted.resolve()
    if special := sorted(set(str(wanted)) & set("*?[]{}%")):
        raise ComponentError(
            f"{wanted}: {special[0]} has a meaning in configured paths; choose another directory"
        )
    wanted.mkdir(parents=True, exist_ok=True)
    if any(wanted.iterdir()):
        raise FileExistsError(errno.EEXIST, "it is not empty; choose a new directory", str(wanted))
    return wanted


def _plan(args: argparse.Namespace) -> Plan:
    from logflow.testing.writer import Plan

    container_bytes = args.rate * args.duration * _LINE_BYTES / args.containers
    return Plan(
        containers=args.containers,
        lines_per_s=args.rate,
        duration_s=args.duration,
        seed=args.seed,
        # About three rotations of each file, so that the kubelet's five files hold everything.
        rotate_bytes=max(round(container_bytes / 3), 64 * 1024),
    )


class _Demo:
    """The course of one demo."""

    def __init__(self, pipeline: LocalPipeline, plan: Plan, *, kill: bool) -> None:
        self._pipeline = pipeline
        self._plan = plan
        self._kill_after_s = plan.duration_s / 2 if kill else None
        self._killed_ns: int | None = None
        self._down: Process | None = None
        self._down_until_s = 0.0
        self._arrivals = pipeline.arrivals()
        self._view = LiveView(sys.stdout)
        self._took_s = 0.0
        self._late: list[str] = []

    def play(self) -> None:
        """Write, kill half-way, and wait until everything has arrived or the time is up."""
        writer = self._pipeline.write(self._plan)
        started_s = time.monotonic()
        while writer.running:
            self._step(time.monotonic() - started_s)
        if writer.wait(0.0) != 0:
            raise ComponentError(f"the writer failed; its log is {writer.log}")
        self._restart()
        self._view.note("all lines are written; waiting until they have arrived")
        deadline_s = time.monotonic() + _DRAIN_S
        while not self._step(0.0) and time.monotonic() < deadline_s:
            pass
        self._took_s = time.monotonic() - started_s
        self._view.close()
        self._late = self._pipeline.stop(_STOP_S)

    def _step(self, elapsed_s: float) -> bool:
        """Look once at everything; returns whether all that was written has arrived."""
        time.sleep(_POLL_S)
        if self._kill_after_s is not None and elapsed_s >= self._kill_after_s:
            self._kill_after_s = None
            self._kill()
        if self._down is not None and time.monotonic() >= self._down_until_s:
            self._restart()
        self._pipeline.check_alive(except_for=self._down)
        written = self._pipeline.progress.lines
        self._arrivals.update()
        self._view.update({"written": written, "files": self._arrivals.files, "HTTP": self._arrivals.http})
        return min(self._arrivals.files, self._arrivals.http) >= written

    def _kill(self) -> None:
        self._down = self._pipeline.processes[self._arrivals.busiest]
        self._killed_ns = time.time_ns()
        self._down.kill()
        self._down_until_s = time.monotonic() + min(_DOWN_S, self._plan.duration_s / 10)
        self._view.note(f"{self._down.name} was killed with SIGKILL")

    def _restart(self) -> None:
        if self._down is not None:
            self._down.start()
            self._view.note(f"{self._down.name} was started again")
            self._down = None

    # -- the verdict ------------------------------------------------------------------------------

    def judge(self) -> bool:
        """Print what became of the lines; returns whether each arrived once."""
        files = self._pipeline.verdict_of_files()
        raw = self._pipeline.judge_http(repeats=True).verdict()
        store = self._pipeline.judge_http(repeats=False)
        http = store.verdict()
        heads = "".join(f"{name:>13}" for name in _COLUMNS)
        print(f"\n{'lines':<26}{heads}")
        _print_row("files", files)
        _print_row("HTTP as it came", raw)
        _print_row("HTTP by Idempotency-Key", http)
        print(
            "\nHTTP as it came counts what was sent again while an answer was lost: a store that knows"
            "\nIdempotency-Key takes each request once, as in the line below it.\n"
            f"\n{files.delivered / self._took_s:,.0f} events/s from the first line to the last arrival;\n"
            f"{self._pipeline.progress.rotations} rotations of log files;\n"
            f"from write to HTTP sink: {_latency(store.latencies_ns())}"
        )
        if self._killed_ns is not None:
            calm_ns = store.latencies_ns(self._killed_ns - _SHADOW_NS)
            print(f"... before the kill:       {_latency(calm_ns)}")
        print()
        for name in ("node", "aggregator-0/archive", "aggregator-1/archive", "sink-0", "sink-1", "logs"):
            print(f"  {self._pipeline.directory / name}")
        return self._conclude(files, http)

    def _conclude(self, files: DeliveryVerdict, http: DeliveryVerdict) -> bool:
        problems = [f"files: {example}" for example in files.examples]
        problems += [f"HTTP: {example}" for example in http.examples]
        problems += [f"{name} did not end within {_STOP_S:g} s of SIGTERM" for name in self._late]
        if not files.written:
            problems.append("nothing was written")
        print("\nFAILED:" if problems else "\nEvery line arrived, whole, in order and once.")
        for problem in problems:
            print(f"  {problem}")
        return not problems


def _latency(latencies_ns: list[int]) -> str:
    from logflow.testing.oracle import percentile

    p50_ms, p99_ms = (percentile(latencies_ns, share) / 1e6 for share in (0.5, 0.99))
    return f"p50 {p50_ms:,.1f} ms, p99 {p99_ms:,.1f} ms"


_COLUMNS = ("written", "delivered", "lost", "doubled", "out of order", "damaged", "unknown")


def _print_row(name: str, verdict: DeliveryVerdict) -> None:
    numbers = (
        verdict.written, verdict.delivered, verdict.lost, verdict.doubled,
        verdict.disordered, verdict.damaged, verdict.unknown,
    )  # fmt: skip
    print(f"{name:<26}" + "".join(f"{number:>13,}" for number in numbers), flush=True)
