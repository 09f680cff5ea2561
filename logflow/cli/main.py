"""The command line: ``logflow COMMAND ...``.

A command is one module in this package with two functions, and one line in :data:`COMMANDS`::

    def add_arguments(parser: argparse.ArgumentParser) -> None: ...    # declare its options
    def run(args: argparse.Namespace) -> int: ...                      # do it; the exit status

The module's docstring is the command's ``--help``. It is imported only when the command is called,
so that ``logflow --version`` and ``--help`` are fast. Commands raise :class:`LogflowError` or
``OSError`` for what the user can mend; each becomes one line on stderr and an exit status:

======  =====================================================================================
status  meaning
======  =====================================================================================
0       done
1       it failed: the line on stderr says what, where and what to do
2       the command line or the configuration is wrong; every problem is a line on stderr
130     interrupted by Ctrl-C
141     whoever read stdout has gone
======  =====================================================================================
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

from logflow.cli.configuration import each_alone
from logflow.errors import ConfigError, LogflowError, what_happened

COMMANDS = {
    "run": ("logflow.cli.run", "run the pipeline that the configuration describes"),
    "check": ("logflow.cli.check", "check a configuration, or print its JSON Schema"),
    "test": ("logflow.cli.test", "run tests of a configuration; nothing is opened"),
    "explain": ("logflow.cli.explain", "say what a configuration does with a tag, a file or a record"),
    "eval": ("logflow.cli.eval", "try an expression on records from stdin"),
    "demo": ("logflow.cli.demo", "run the whole pipeline on this machine, with a verdict"),
    "cat": ("logflow.cli.cat", "send lines from stdin to a forward source"),
    "bench": ("logflow.cli.bench", "measure what this machine carries with a configuration"),
    "buffer": ("logflow.cli.buffer", "look into disk buffers, verify and repair them"),
    "query": ("logflow.cli.query", "ask an archive that the outputs file and s3 wrote, in SQL"),
    "dead-letter": ("logflow.cli.dead_letter", "list, show, replay or drop dead letters"),
}
"""Command name to (module, one line of help)."""


class _CommandParser(argparse.ArgumentParser):
    """The parser of one command; imports the command's module when it is first needed."""

    command = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, after the command has declared its options."""
        module_name = COMMANDS[self.command][0]
        if find_spec(module_name) is None:
            raise LogflowError(f"the command {self.command!r} is not part of this installation")
        module = import_module(module_name)
        self.description = module.__doc__
        module.add_arguments(self)
        self.set_defaults(run=module.run)
        names = any(not action.option_strings for action in self._actions)
        return super().parse_known_args(each_alone(args, names=names), namespace)


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        """Print the version line and leave."""
        from logflow.cli.version import version_line

        print(version_line())
        raise SystemExit(0)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; no command is imported."""
    parser = argparse.ArgumentParser(
        prog="logflow",
        description="A log aggregation pipeline: nothing lost, nothing doubled.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", nargs=0, action=_Version, help="show the version and the engine")
    _add_debug(parser)
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    for name, (_, help_text) in COMMANDS.items():
        command = commands.add_parser(
            name, help=help_text, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.command = name
        _add_debug(command)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        args = build_parser().parse_args(arguments)
        status: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is still buffered for stdout cannot be written; the interpreter must not try on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return report(error, debug="--debug" in arguments)
    return status


def report(error: Exception, *, debug: bool) -> int:
    """Print an error for the user, with its traceback if asked, and return the exit status."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, ConfigError):
        print(*error.problems, sep="\n", file=sys.stderr)
        return 2
    text, kind = what_happened(error), type(error).__name__
    if not (isinstance(error, LogflowError) or (isinstance(error, OSError) and error.strerror)):
        text = f"internal error: {text if text == kind else f'{kind}: {text}'}; --debug shows where"
    print("logflow:", text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
