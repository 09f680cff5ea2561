"""The ``-c FILE...`` option, which several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logflow.config.models import Settings


def add_config_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare ``-c FILE...``; may be given several times, and the files are merged in order."""
    parser.add_argument(
        "-c", "--config", metavar="FILE", type=Path, nargs="+", action="extend", required=required,
        help="configuration file; several are merged in order",
    )  # fmt: skip


def load_settings(args: argparse.Namespace, *, quiet: bool = False) -> Settings:
    """Load the configuration that ``-c`` names; warnings go to stderr unless ``quiet``.

    Raises:
        ConfigError: it has mistakes.
    """
    from logflow.config.loader import load

    loaded = load(args.config, os.environ)
    if not quiet:
        for warning in loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)
    return loaded.settings
