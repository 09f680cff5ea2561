"""The ``-c FILE...`` option, which several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logflow.config.loader import Loaded
    from logflow.config.models import Settings


def add_config_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare ``-c FILE...``; may be given several times, and the files are merged in order."""
    parser.add_argument(
        "-c", "--config", metavar="FILE", type=Path, nargs="+", action="extend", required=required,
        help="configuration file, directory of *.yaml files, or - for stdin; several are merged in order",
    )  # fmt: skip


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
