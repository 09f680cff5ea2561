"""Look into disk buffers.

list shows how much waits for each output, how old it is and under which tags; show writes the waiting
events as JSON lines; verify reads and checks everything, and exits with 1 when it finds damage; all three
may be used while a service runs. repair sets damage aside and keeps the rest; the service must be stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from logflow.cli.configuration import add_config_option, load_settings
from logflow.errors import ComponentError, MalformedData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logflow.config.models import Settings

_TAGS_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("list", "show", "verify", "repair"))
    add_config_option(parser)
    parser.add_argument("--output", help="only this output's buffer")
    parser.add_argument("--tag", help="show: only events of this tag")
    parser.add_argument("--limit", type=int, help="show: at most this many events")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    settings = load_settings(args, quiet=True)
    buffers = dict(_buffers(settings, args.output))
    if not buffers:
        raise ComponentError(
            f"no output {args.output!r} has a disk buffer" if args.output else "no output has a disk buffer"
        )
    if args.action == "show":
        return _show(buffers, args)
    act = {"list": _list, "verify": _verify, "repair": _repair}[args.action]
    return max(act(name, directory) for name, directory in buffers.items())


def _buffers(settings: Settings, wanted: str | None) -> Iterator[tuple[str, Path]]:
    """The disk buffers of a configuration: (output, directory)."""
    from logflow.config.options import OutputConfig
    from logflow.pipeline.build import buffer_dir

    for name, output in settings.outputs.items():
        if wanted in {None, name} and isinstance(output, OutputConfig) and output.buffer.type == "disk":
            yield name, buffer_dir(settings.data_dir, name)


def _list(output: str, directory: Path) -> int:
    from logflow.buffers.disk.inspection import survey

    found = survey(directory)
    events = sum(batch.description.count for batch in found.batches)
    size = sum(batch.found.head.body_length for batch in found.batches)
    oldest = min((batch.description.time_ns for batch in found.batches), default=None)
    age = f", the oldest {(time.time_ns() - oldest) / 1e9:,.0f} s old" if oldest is not None else ""
    print(
        f"{output}: {events:,} events wait, {size:,} bytes in {len(found.batches):,} batches{age}; "
        f"{found.segments} segments of {found.size:,} bytes; {found.set_aside} damaged parts set aside"
    )
    tags: Counter[str] = Counter()
    for batch in found.batches:
        tags[batch.description.tag] += batch.description.count
    for tag, count in tags.most_common(_TAGS_SHOWN):
        print(f"  {count:>12,}  {tag}")
    if len(tags) > _TAGS_SHOWN:
        print(f"  ... and {len(tags) - _TAGS_SHOWN} more tags")
    return 0


def _verify(output: str, directory: Path) -> int:
    from logflow.buffers.disk.inspection import survey

    found = survey(directory, bodies=True)
    for damage in found.damaged:
        print(f"{output}: damaged: {damage}", file=sys.stderr)
    if found.damaged:
        print(f"{output}: stop the service and run logflow buffer repair", file=sys.stderr)
        return 1
    print(f"{output}: {found.segments} segments of {found.size:,} bytes are whole")
    return 0


def _repair(output: str, directory: Path) -> int:
    import logging

    from logflow.buffers.disk.fs import Fs
    from logflow.buffers.disk.recovery import recover

    if not directory.is_dir():
        print(f"{output}: there is nothing to repair")
        return 0
    fs = Fs()
    try:
        lock = fs.lock(directory / "lock")
    except OSError as error:
        raise ComponentError(f"the buffer {directory} is in use; stop the service first") from error
    try:
        found = recover(fs, directory, logging.getLogger("logflow.buffers"), all_bodies=True)
    finally:
        fs.close(lock)
    lost = sum(count for _, count in found.lost.values())
    print(f"{output}: {found.damaged_bytes:,} damaged bytes with {lost:,} events are set aside in corrupt/")
    return 0


def _show(buffers: dict[str, Path], args: argparse.Namespace) -> int:
    """Write events as JSON lines; damaged batches are reported and left out."""
    from logflow.buffers.disk.inspection import survey
    from logflow.engine import load_engine

    engine, left, status = load_engine(), args.limit, 0
    for directory in buffers.values():
        for stored in survey(directory).batches:
            if args.tag is not None and stored.description.tag != args.tag:
                continue
            try:
                batch = stored.read()
            except MalformedData as error:
                print(f"{error}", file=sys.stderr)
                status = 1
                continue
            lines = engine.to_ndjson(batch.entries, batch.tag).splitlines(keepends=True)[:left]
            sys.stdout.buffer.writelines(lines)
            if left is not None and (left := left - len(lines)) <= 0:
                return status
    sys.stdout.buffer.flush()
    return status
