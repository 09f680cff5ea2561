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
from typing import TYPE_CHECKING, Any

from logflow.cli.configuration import add_config_option, load_settings
from logflow.errors import ComponentError

if TYPE_CHECKING:
    from logflow.config.models import Settings
    from logflow.pipeline.build import Pipeline

_PROGRESS_S = 1.0
_POLL_S = 0.05
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
        figures = asyncio.run(_measure(plan))
    print("\n".join(figures))
    return 0


@dataclass(frozen=True)
class _Plan:
    """What is run: the changed settings, and what goes in."""

    settings: Settings
    input_bytes: int


def _plan(settings: Settings, directory: Path, args: argparse.Namespace) -> _Plan:
    """Put sample input in the place of the sources, and a bottomless output in that of the outputs."""
    from logflow.config.models import AdminOptions
    from logflow.config.options import OutputConfig
    from logflow.outputs.null import NullOutput
    from logflow.sources.generate import GenerateConfig

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
            sources[name] = GenerateConfig(
                type="generate", tag=name, rate=0, count=max(size // 200, 1), size=100
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
    task = asyncio.create_task(runner.run())
    watcher = asyncio.create_task(_watch(pipeline, plan, started_s))
    await asyncio.wait([task, watcher], return_when=asyncio.FIRST_COMPLETED)
    wall_s, cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    watcher.cancel()
    runner.stop()
    await task
    events, size = _delivered(pipeline), plan.input_bytes
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return [
        f"engine         {pipeline.engine.name}",
        f"events         {events:,} of {size / 1e6:,.0f} MB in {wall_s:.2f} s",
        f"throughput     {events / wall_s:,.0f} events/s, {size / wall_s / 1e6:,.0f} MB/s",
        f"per core       {events / cpu_s:,.0f} events/s, {cpu_s / size * 1e9:.2f} CPU s per GB",
        f"peak memory    {peak_mb:,.0f} MB",
    ]


async def _watch(pipeline: Pipeline, plan: _Plan, started_s: float) -> None:
    """Return once nothing more moves; shows progress meanwhile."""
    shown_s = time.monotonic()
    last, still = -1, 0
    while still < 1.0 / _POLL_S:
        await asyncio.sleep(_POLL_S)
        events = _delivered(pipeline)
        still = still + 1 if events == last and events else 0
        if still == 1 and _everything_read(pipeline, plan):
            return
        last = events
        if time.monotonic() - shown_s > _PROGRESS_S:
            shown_s = time.monotonic()
            print(f"{shown_s - started_s:5.1f} s  {events:,} events", file=sys.stderr)


def _everything_read(pipeline: Pipeline, plan: _Plan) -> bool:
    """Whether the sources have come to the end of their files and nothing waits."""
    read = sum(cell.value for cell in pipeline.metrics.counters() if cell.name == "bytes_read")
    waiting = sum(flusher.buffer.waiting.events for flusher in pipeline.flushers.values())
    return read >= plan.input_bytes and not waiting


def _delivered(pipeline: Pipeline) -> int:
    """Events that went through the busiest output, or were dropped on purpose."""
    return max(
        (account.delivered + account.dropped.total() for account in pipeline.ledger.accounts()), default=0
    )
