"""Look into disk buffers.

list shows how much waits for each output and under which tags, and how old it is; show writes the waiting
events as JSON lines; verify reads and checks everything, and exits with 1 when it finds damage; all three
may be used while a service runs. repair sets damage aside and keeps the rest; move FROM TO hands what waits
in a buffer that no output uses any more to another output's; for both the service must be stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logflow.cli.configuration import add_config_option, load_settings
from logflow.errors import ComponentError, MalformedData, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logflow.buffers.disk.index import Queue
    from logflow.config.models import Settings

_COLUMNS = "{:<40} {:>12} {:>14} {:>9} {:>9} {:>10}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("list", "show", "verify", "repair", "move"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="move: from which output, and to which")
    add_config_option(parser)
    parser.add_argument("--output", metavar="NAME", help="only this output's buffer")
    parser.add_argument("--tag", help="show: only events of this tag")
    parser.add_argument("--limit", metavar="EVENTS", type=int, help="show: at most this many events")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    settings = load_settings(args, quiet=True)
    buffers = dict(_buffers(settings, args.output))
    if args.action == "move":
        return _move(settings, buffers, args.names)
    if args.names:
        raise ComponentError(f"{args.action} takes no names; use --output NAME")
    if args.action == "list":
        buffers.update(_stranded(settings, args.output))
    if not buffers:
        raise ComponentError(
            f"no output {args.output!r} has a disk buffer" if args.output else "no output has a disk buffer"
        )
    if args.action == "show":
        return _show(buffers, args.tag, args.limit)
    act = {"list": _list, "verify": _verify, "repair": _repair}[args.action]
    return max(act(name, directory) for name, directory in buffers.items())


def _stranded(settings: Settings, wanted: str | None) -> Iterator[tuple[str, Path]]:
    """The buffers that no output uses any more."""
    from logflow.buffers.stranded import stranded_directories

    used = dict(_buffers(settings, None))
    for directory in stranded_directories(settings.data_dir / "buffers", used):
        if wanted in {None, directory.name}:
            yield f"{directory.name} (stranded)", directory


def _move(settings: Settings, buffers: dict[str, Path], names: list[str]) -> int:
    if len(names) != 2:
        raise ComponentError("move takes two names: from which output, and to which")
    source, target = names
    stranded = {directory.name: directory for _, directory in _stranded(settings, None)}
    if source not in stranded:
        raise ComponentError(
            f"{source!r} is not a stranded buffer; those are: {', '.join(stranded) or 'none'}"
        )
    if target not in buffers:
        raise ComponentError(
            f"no output {target!r} has a disk buffer; those are: {', '.join(buffers) or 'none'}"
        )
    events = asyncio.run(_move_all(settings, stranded[source], buffers[target]))
    print(f"{counted(events, 'event')} of {source} now in the buffer of {target}")
    return 0


async def _move_all(settings: Settings, source: Path, target: Path) -> int:
    from logflow.buffers.disk import DiskBuffer
    from logflow.buffers.stranded import move
    from logflow.clock import SystemClock
    from logflow.config.options import BufferOptions
    from logflow.storage.checkpoints import Checkpoints
    from logflow.storage.fs import Fs

    fs = Fs()
    try:
        lock = fs.lock(settings.data_dir / "lock")
    except BlockingIOError as error:
        raise ComponentError(f"{settings.data_dir} is in use; stop the service first") from error
    checkpoints = Checkpoints(settings.data_dir / "checkpoints")
    try:
        checkpoints.open()
        options = BufferOptions(type="disk", limit=1 << 60)
        log = logging.getLogger("logflow.buffers")
        return await move(
            source,
            target,
            checkpoints,
            lambda: DiskBuffer(target.name, target, options, checkpoints, clock=SystemClock(), log=log),
        )
    finally:
        checkpoints.close()
        fs.close(lock)


def _buffers(settings: Settings, wanted: str | None) -> Iterator[tuple[str, Path]]:
    """The disk buffers of a configuration: (output, directory)."""
    from logflow.config.options import OutputConfig
    from logflow.pipeline.build import buffer_dir

    for name, output in settings.outputs.items():
        if wanted in {None, name} and isinstance(output, OutputConfig) and output.buffer.type == "disk":
            yield name, buffer_dir(settings.data_dir, name)


def _list(output: str, directory: Path) -> int:
    from logflow.buffers.disk.inspection import survey

    seen = survey(directory)
    totals = [queue.rows.totals() for queue in seen.found.queues.values()]
    print(
        f"{output}: {counted(sum(events for events, _ in totals), 'event', 'wait')}, "
        f"{sum(size for _, size in totals):,} bytes; {counted(len(seen.found.segments), 'segment')} of "
        f"{seen.size:,} bytes; {counted(seen.set_aside, 'damaged part')} set aside"
    )
    if totals:
        print(_COLUMNS.format("  tag", "events", "bytes", "batches", "chunks", "oldest"))
    for queue in sorted(seen.found.queues.values(), key=lambda queue: queue.rows[0].time_ns):
        print(_COLUMNS.format(*_row(queue)))
    return 0


def _row(queue: Queue) -> tuple[str, ...]:
    events, size = queue.rows.totals()
    age_s = (time.time_ns() - queue.rows[0].time_ns) / 1e9
    numbers = (f"{number:,}" for number in (events, size, len(queue.rows), len(queue.cuts)))
    return f"  {queue.tag}", *numbers, f"{age_s:,.0f} s"


def _verify(output: str, directory: Path) -> int:
    from logflow.buffers.disk.inspection import survey

    seen = survey(directory, bodies=True)
    for damage in seen.damaged:
        print(f"{output}: damaged: {damage}", file=sys.stderr)
    if seen.damaged:
        print(f"{output}: stop the service and run logflow buffer repair", file=sys.stderr)
        return 1
    print(f"{output}: {seen.records:,} records in {seen.size:,} bytes are whole")
    return 0


def _repair(output: str, directory: Path) -> int:
    from logflow.buffers.disk.recovery import recover
    from logflow.storage.fs import Fs

    if not directory.is_dir():
        print(f"{output}: there is nothing to repair")
        return 0
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    fs = Fs()
    try:
        lock = fs.lock(directory / "lock")
    except BlockingIOError as error:
        raise ComponentError(f"the disk buffer {directory} is in use; stop the service first") from error
    try:
        found = recover(fs, directory, logging.getLogger("logflow.buffers"), all_bodies=True)
    finally:
        fs.close(lock)
    lost = sum(events for _, events in found.lost.values())
    print(
        f"{output}: {found.damaged_bytes:,} damaged bytes are set aside in {directory / 'corrupt'}; "
        f"{counted(lost, 'event')} lost"
    )
    return 0


def _show(buffers: dict[str, Path], tag: str | None, limit: int | None) -> int:
    """Write events as JSON lines; damaged batches are reported and left out."""
    from logflow.buffers.disk.inspection import survey
    from logflow.engine import load_engine

    engine, status = load_engine(), 0
    for directory in buffers.values():
        seen = survey(directory)
        for batch_tag, row in seen.batches():
            if limit is not None and limit <= 0:
                return status
            if tag not in {None, batch_tag}:
                continue
            try:
                batch = seen.read(batch_tag, row)
            except MalformedData as error:
                print(error, file=sys.stderr)
                status = 1
                continue
            lines = engine.to_ndjson(batch.entries, batch.tag).splitlines(keepends=True)[:limit]
            sys.stdout.buffer.writelines(lines)
            limit = None if limit is None else limit - len(lines)
    sys.stdout.buffer.flush()
    return status
