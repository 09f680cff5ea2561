"""Measure what this machine carries with a configuration.

Sources that follow files are given files of sample lines in their format (or --sample FILE, which is
repeated until it is large enough); all other sources are replaced by generated events. Parsers, filters,
routes and buffers are those of the configuration. Outputs are replaced by one that takes everything at
once, unless --outputs is given: then the real destinations get the sample lines.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from logflow.cli.configuration import add_config_option, load_settings
from logflow.errors import ComponentError

if TYPE_CHECKING:
    from logflow.config.models import Settings
    from logflow.pipeline.build import Pipeline

_PROGRESS_S = 1.0
_POLL_S = 0.02
_DONE_S = 0.1
_STILL_S = 1.0
_NOTHING_S = 10.0
"""How long nothing may move before it has come to its end: all was read; all was generated; nothing comes."""
_SHORT_S = 2.0
"""What took less time is not a figure to rely on."""
_SAMPLE_LINES = 20_000
_GENERATED_BYTES = 200
"""What a generated event counts as."""
_DOCKER = '{"log":"{message}\\n","stream":"stdout","time":"{time}"}'
_PATH_SAMPLE = "bench-0_default_sample-0123456789abcdef.log"
"""Named as the kubelet names links, so that tags made of the path come out as usual."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--size-mb", type=float, default=200.0, help="megabytes of input (default 200)")
    parser.add_argument("--sample", type=Path, help="a file of lines as the sources read them")
    parser.add_argument("--outputs", action="store_true", help="deliver to the configured outputs")


def run(args: argparse.Namespace) -> int:
    """Measure and print the figures."""
    settings = load_settings(args)
    with tempfile.TemporaryDirectory(prefix="logflow-bench-") as temporary:
        directory = Path(temporary)
        plan = _plan(settings, directory, args)
        print("\n".join(_described(settings, plan, outputs=args.outputs)), file=sys.stderr)
        figures = asyncio.run(_measure(plan))
    print("\n".join(figures))
    return 0


@dataclass(frozen=True)
class _Plan:
    """What is run: the changed settings, and what goes in."""

    settings: Settings
    input_bytes: int


class _Progress:
    """One line that is kept fresh on a terminal, plain lines in a pipe."""

    def __init__(self, stream: TextIO, total_bytes: int, started_s: float) -> None:
        self._stream = stream
        self._total_bytes = total_bytes
        self._started_s = self._shown_s = started_s
        self._fresh_s = _PROGRESS_S / 5 if stream.isatty() else _PROGRESS_S

    def show(self, events: int, read_bytes: int) -> None:
        """Say how far it is, if it is time to."""
        now_s = time.monotonic()
        if now_s - self._shown_s < self._fresh_s:
            return
        self._shown_s = now_s
        spent_s, share = now_s - self._started_s, min(read_bytes / self._total_bytes, 1.0)
        rest = f", about {spent_s / share - spent_s:.0f} s to go" if share else ""
        text = f"{share:4.0%}  {spent_s:5.1f} s  {events:,} events{rest}"
        start, end = ("\r\x1b[K", "") if self._stream.isatty() else ("", "\n")
        print(f"{start}{text}", end=end, file=self._stream, flush=True)

    def end(self) -> None:
        """Leave a clean line behind."""
        if self._stream.isatty():
            print("\r\x1b[K", end="", file=self._stream, flush=True)


def _described(settings: Settings, plan: _Plan, *, outputs: bool) -> list[str]:
    """What is measured and what is not, as sentences."""
    sources = ", ".join(f"{name} ({source.type})" for name, source in settings.sources.items())
    ends = ", ".join(f"{name} ({output.type})" for name, output in settings.outputs.items())
    fate = (
        "deliver for real"
        if outputs
        else "are replaced by ones that take everything at once (--outputs delivers for real)"
    )
    return [
        f"The sources {sources} are given {plan.input_bytes / 1e6:,.0f} MB of sample input.",
        f"The outputs {ends} {fate}; parsers, filters, routes and buffers are your own.",
    ]


def _plan(settings: Settings, directory: Path, args: argparse.Namespace) -> _Plan:
    """Put sample input in the place of the sources, and a bottomless output in that of the outputs."""
    from logflow.config.models import AdminOptions
    from logflow.config.options import OutputConfig
    from logflow.outputs.null import NullOutput
    from logflow.sources.generate import GenerateSource

    size = int(args.size_mb * 1e6 / len(settings.sources))
    sources: dict[str, Any] = {}
    total = 0
    for name, source in settings.sources.items():
        if source.type == "tail":
            path = directory / name / _PATH_SAMPLE
            total += _write_sample(path, getattr(source, "format", "auto"), size, args.sample)
            sources[name] = source.model_copy(
                update={"paths": [str(path)], "exclude": [], "read_from": "beginning"}
            )
        else:
            sources[name] = GenerateSource.Config(
                type="generate", tag=name, rate=0, count=max(size // _GENERATED_BYTES, 1), size=100
            )
            total += size
    outputs: dict[str, Any] = {}
    for name, output in settings.outputs.items():
        assert isinstance(output, OutputConfig)
        swallow = NullOutput.Config.model_validate({"type": "null", "buffer": output.buffer.model_dump()})
        outputs[name] = output if args.outputs else swallow
    update = {
        "data_dir": directory / "data",
        "sources": sources,
        "outputs": outputs,
        "admin": AdminOptions(listen=None),
    }
    changed: Settings = settings.model_copy(update=update)
    return _Plan(changed, total)


def _write_sample(path: Path, line_format: str, size: int, sample: Path | None) -> int:
    """Write sample lines; returns their bytes."""
    path.parent.mkdir(parents=True)
    try:
        block = sample.read_bytes() if sample else _sample_lines(line_format)
    except OSError as error:
        raise ComponentError(f"cannot read the sample {sample}: {error.strerror}") from error
    if not block.strip():
        raise ComponentError(f"the sample {sample} is empty; give a file with lines")
    block = block if block.endswith(b"\n") else block + b"\n"
    with path.open("wb") as file:
        for _ in range(max(size // len(block), 1)):
            file.write(block)
    return path.stat().st_size


def _sample_lines(line_format: str) -> bytes:
    """JSON messages of 8 fields, wrapped as the format wants it."""
    wrap = {"docker": _DOCKER, "plain": "{message}"}.get(line_format, "{time} stdout F {message}")
    lines = []
    for number in range(_SAMPLE_LINES):
        message = (
            f'{{"level":"info","num":{number},"msg":"request handled and answered after the usual checks",'
            f'"method":"GET","path":"/api/v1/users/{number * 7919 % 99991}/orders","status":200,'
            f'"duration":0.{number % 9999:04d},"trace":"{number * 2654435761 % 2**64:032x}"}}'
        )
        time_text = f"2026-01-01T00:00:{number % 60:02d}.{number:09d}Z"
        if line_format == "docker":
            message = message.replace('"', '\\"')
        lines.append(wrap.replace("{time}", time_text).replace("{message}", message))
    return ("\n".join(lines) + "\n").encode()


async def _measure(plan: _Plan) -> list[str]:
    """Run the pipeline until everything has gone through; returns the figures as lines."""
    from logflow.pipeline.build import build
    from logflow.pipeline.runner import Runner

    pipeline = build(plan.settings)
    runner = Runner(pipeline)
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    progress = _Progress(sys.stderr, plan.input_bytes, started_s)
    task = asyncio.create_task(runner.run())
    watcher = asyncio.create_task(_watch(pipeline, plan, progress))
    await asyncio.wait([task, watcher], return_when=asyncio.FIRST_COMPLETED)
    cpu_s = time.process_time() - started_cpu_s
    moved_s = watcher.result() if watcher.done() else time.monotonic()
    progress.end()
    watcher.cancel()
    runner.stop()
    await task
    return _figures(pipeline, plan.input_bytes, moved_s - started_s, cpu_s)


def _figures(pipeline: Pipeline, size: int, wall_s: float, cpu_s: float) -> list[str]:
    """What was measured, with the answer first."""
    events = _delivered(pipeline)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    each = size / events if events else 0.0
    figures = {
        "this machine": f"{events / wall_s:,.0f} events/s, {size / wall_s / 1e6:,.0f} MB/s",
        "per core": f"{events / cpu_s:,.0f} events/s, {cpu_s / size * 1e9:.2f} CPU s per GB",
        "cores busy": f"{cpu_s / wall_s:.1f}",
        "events": f"{events:,} of {each:,.0f} bytes, {size / 1e6:,.0f} MB in {wall_s:.2f} s",
        "peak memory": f"{peak_mb:,.0f} MB",
        "engine": pipeline.engine.name,
    }
    lines = [f"{name:<15}{text}" for name, text in figures.items()]
    if wall_s < _SHORT_S:
        lines.append("This took too little time to rely on; give a larger --size-mb for a steady figure.")
    return lines


async def _watch(pipeline: Pipeline, plan: _Plan, progress: _Progress) -> float:
    """Return once nothing more moves, with the time at which the last event did; shows progress meanwhile."""
    last, moved_s = 0, time.monotonic()
    while True:
        await asyncio.sleep(_POLL_S)
        events, now_s = _delivered(pipeline), time.monotonic()
        if events != last:
            last, moved_s = events, now_s
        still_s = _DONE_S if _everything_read(pipeline, plan) else _STILL_S if events else _NOTHING_S
        if now_s - moved_s > still_s:
            return moved_s
        progress.show(events, _read_bytes(pipeline) or _GENERATED_BYTES * events)


def _everything_read(pipeline: Pipeline, plan: _Plan) -> bool:
    """Whether the sources have come to the end of their files and nothing waits."""
    waiting = sum(flusher.buffer.waiting.events for flusher in pipeline.flushers.values())
    return _read_bytes(pipeline) >= plan.input_bytes and not waiting


def _read_bytes(pipeline: Pipeline) -> int:
    """Bytes that sources have read from files."""
    return sum(cell.value for cell in pipeline.metrics.counters() if cell.name == "bytes_read")


def _delivered(pipeline: Pipeline) -> int:
    """Events that went through the busiest output, or were dropped on purpose."""
    return max(
        (account.delivered + account.dropped.total() for account in pipeline.ledger.accounts()), default=0
    )
