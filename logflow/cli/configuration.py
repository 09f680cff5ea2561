"""The ``-c FILE...`` option, which several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logflow.config.loader import Loaded
    from logflow.config.models import Settings

_SUFFIXES = (".yaml", ".yml")


def add_config_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare ``-c FILE...``; the files are merged in order."""
    parser.add_argument(
        "-c", "--config", metavar="FILE", type=Path, action="append", required=required,
        help="configuration file, directory of *.yaml files, or - for stdin; several are merged in order",
    )  # fmt: skip


def each_alone(arguments: Sequence[str], *, names: bool) -> list[str]:
    """Write ``-c A B NAME`` as ``-c A -c B NAME``, so that ``-c`` takes no name that follows its files.

    Args:
        arguments: of the command.
        names: whether the command takes names, or else all that follows ``-c`` is files.
    """
    given, following = list[str](), False
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*given, *arguments[place:]]
        if argument in ("-c", "--config"):
            following = True
        elif following and given[-1] not in ("-c", "--config"):
            following = not argument.startswith("-") and (not names or _looks_like_one(argument))
            given += ["-c"] if following else []
        given.append(argument)
    return given


def _looks_like_one(argument: str) -> bool:
    """Whether an argument names a configuration, whether it exists or not."""
    path = Path(argument)
    return path.suffix in _SUFFIXES or (
        path.is_dir() and any(found.suffix in _SUFFIXES for found in path.iterdir())
    )


@cache
def _stdin() -> bytes:
    """Read stdin, once: a reload finds there what the start found."""
    from logflow.config.reading import MAX_FILE_BYTES

    return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)


def load_settings(args: argparse.Namespace, *, quiet: bool = False) -> Settings:
    """Load the configuration that ``-c`` names; warnings go to stderr unless ``quiet``.

    Raises:
        ConfigError: it has mistakes.
    """
    loaded = load_config(args)
    if not quiet:
        for warning in loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)
    return loaded.settings


def load_config(args: argparse.Namespace) -> Loaded:
    """Load the configuration that ``-c`` names, with all that is known of it.

    Raises:
        ConfigError: it has mistakes.
    """
    from logflow.config.loader import load

    return load(args.config, os.environ, _stdin)
