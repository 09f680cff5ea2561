"""Look after chunks that an output rejected or that were given up.

list shows what there is; show decodes the events to JSON lines; replay has the service deliver them again
(the running one within seconds, otherwise the next one that starts); drop deletes them for good. NAME is a
letter's name as list shows it, or the beginning of one; --all takes every letter (of --output, if given).
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from logflow.cli.configuration import add_config_option, load_settings
from logflow.errors import ComponentError, counted

if TYPE_CHECKING:
    from logflow.pipeline.dead_letters import DeadLetterStore, Letter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("list", "show", "replay", "drop"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="letters, as list names them")
    add_config_option(parser)
    parser.add_argument("--output", help="only letters of this output")
    parser.add_argument("--all", action="store_true", help="every letter")


def run(args: argparse.Namespace) -> int:
    """Do it; 1 when there is no such letter."""
    from logflow.clock import SystemClock
    from logflow.pipeline.dead_letters import DeadLetterStore

    settings = load_settings(args, quiet=True)
    store = DeadLetterStore(settings.data_dir / "dead-letters", SystemClock())
    if args.action == "list":
        return _list(store, args.output)
    letters = _chosen(store, args)
    if args.action == "show":
        for letter in letters:
            _show(letter)
        return 0
    for letter in letters:
        if args.action == "drop":
            letter.drop()
        elif not letter.replaying:
            letter.replay()
    events = sum(letter.head.count for letter in letters)
    done = "dropped" if args.action == "drop" else "marked for replay"
    print(f"{counted(len(letters), 'dead letter')} with {counted(events, 'event')} {done}")
    return 0


def _chosen(store: DeadLetterStore, args: argparse.Namespace) -> list[Letter]:
    """The letters that the command line names."""
    letters = list(store.letters(args.output))
    if args.all:
        return letters
    if not args.names:
        raise ComponentError("which ones? Give their names (logflow dead-letter list), or --all")
    chosen: list[Letter] = []
    for name in args.names:
        found = [letter for letter in letters if letter.name.startswith(name)]
        if not found:
            raise ComponentError(f"there is no dead letter {name!r}; logflow dead-letter list shows them")
        chosen += [letter for letter in found if letter not in chosen]
    return chosen


def _list(store: DeadLetterStore, output: str | None) -> int:
    letter = None
    for letter in store.letters(output):
        when = datetime.fromtimestamp(letter.head.time_ns / 1e9, UTC)
        state = "replaying" if letter.replaying else "kept"
        print(
            f"{letter.name}  {when:%Y-%m-%d %H:%M:%S}  {letter.output}  {letter.head.tag}  "
            f"{counted(letter.head.count, 'event')}  {state}  {letter.head.reason}"
        )
    if letter is None:
        print(f"there are no dead letters{f' of {output}' if output else ''}", file=sys.stderr)
    for path in store.damaged():
        print(f"{path} is damaged and is left alone", file=sys.stderr)
    return 0


def _show(letter: Letter) -> None:
    from logflow.engine import load_engine

    batch = letter.batch()
    lines = load_engine().to_ndjson(batch.entries, batch.tag)
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()
