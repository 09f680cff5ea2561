"""Run the pipeline that the configuration describes.

SIGTERM and Ctrl-C stop the sources, deliver what waits and exit with status 0; a second one stops
at once, and what is not delivered stays on disk or in the log files. SIGHUP loads the configuration
again. An `exec` source hands all signals on to the application, SIGHUP instead of loading anything,
and the exit status is that of the application: 128 + n if signal n ended it, 127 if it was not
found and 126 if it cannot be run.
"""

from __future__ import annotations

import argparse
import gc
import logging
from typing import TYPE_CHECKING

from logflow.cli.configuration import add_config_option, load_settings
from logflow.pipeline.signals import held_back

if TYPE_CHECKING:
    from logflow.config.models import AdminOptions
    from logflow.pipeline.service import Admin, Now


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run until stopped."""
    with held_back():
        # Nothing that start-up makes becomes garbage: looking through it again and again costs CPU time.
        gc.disable()
        settings = load_settings(args)

        import asyncio

        from logflow.cli.logs import set_up_logging
        from logflow.cli.version import version_line
        from logflow.pipeline.service import serve

        set_up_logging(settings.log)
        logging.getLogger("logflow.run").info("%s starts.", version_line(settings.engine))
        gc.freeze()
        gc.enable()
        return asyncio.run(serve(settings, lambda: load_settings(args, quiet=True), _admin))


def _admin(options: AdminOptions, now: Now) -> Admin:
    """Make the admin endpoint; it loads an HTTP server, which not everybody needs."""
    from logflow.admin import AdminServer

    return AdminServer(options, now)
