"""The service: a pipeline under the control of signals.

Every signal goes to the sources first: an ``exec`` source hands it on to the application. Then:

=======================  ==================================================================================
SIGTERM SIGINT SIGQUIT   stop the sources and flush what waits; a second one skips the flush: what is not
                         delivered stays on disk, or in the log files with its position unmoved
SIGHUP                   if no source took it: load the configuration again; when it is valid, the pipeline
                         is drained and a new one takes its place, otherwise nothing changes
SIGUSR1 SIGUSR2 SIGWINCH nothing more
=======================  ==================================================================================
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import Protocol

from logflow.config.models import AdminOptions, Settings
from logflow.errors import ComponentError, ConfigError
from logflow.pipeline.build import Pipeline, build
from logflow.pipeline.runner import Runner
from logflow.pipeline.signals import SIGNALS, STOPPING, let_through
from logflow.telemetry.ledger import ledger_table

_log = logging.getLogger("logflow.service")


class Admin(Protocol):
    """The admin endpoint, as far as the service is concerned: it outlives a reload."""

    async def open(self) -> None:
        """Listen.

        Raises:
            ComponentError: the address cannot be used.
        """
        ...

    async def close(self) -> None:
        """Stop listening."""
        ...


Now = Callable[[], tuple[Pipeline | None, bool]]
"""Tells which pipeline there is now, if any, and whether it is running."""

MakeAdmin = Callable[[AdminOptions, Now], Admin]
"""Makes the admin endpoint, where one is configured."""


class Service:
    """Runs one pipeline after another: the next one when a reload succeeded."""

    def __init__(
        self, settings: Settings, reload: Callable[[], Settings] | None, make_admin: MakeAdmin | None = None
    ) -> None:
        self._reload = reload
        self._make_admin = make_admin
        self._admin: Admin | None = None
        self._admin_options: AdminOptions | None = None
        self._next: Pipeline | None = build(settings)
        self._runner: Runner | None = None

    async def run(self) -> int:
        """Run until stopped; returns the exit status."""
        status = 0
        try:
            while self._next is not None:
                pipeline, self._next = self._next, None
                self._runner = Runner(pipeline)
                await self._open_admin(pipeline.settings.admin)
                status = await self._runner.run()
                for line in ledger_table(pipeline.ledger):
                    _log.info("%s", line)
        finally:
            await self._close_admin()
        return status

    async def _open_admin(self, options: AdminOptions) -> None:
        """Listen for those who ask how things are; one that listens already goes on."""
        if options == self._admin_options:
            return
        await self._close_admin()
        if self._make_admin is not None and options.listen is not None:
            self._admin = self._make_admin(options, self._now)
            await self._admin.open()
        self._admin_options = options

    async def _close_admin(self) -> None:
        if self._admin is not None:
            await self._admin.close()
            self._admin = self._admin_options = None

    def _now(self) -> tuple[Pipeline | None, bool]:
        return (self._runner.pipeline, self._runner.running) if self._runner is not None else (None, False)

    def on_signal(self, number: int) -> None:
        """Do what a signal asks for; see the module's text."""
        taken = self._runner is not None and self._runner.on_signal(number)
        if number in STOPPING:
            self.on_stop()
        elif number == signal.SIGHUP and not taken:
            self.on_reload()

    def on_stop(self) -> None:
        """Stop and drain; the second time at once."""
        self._next = None
        if self._runner is not None:
            self._runner.stop()

    def on_reload(self) -> None:
        """Put a pipeline of the configuration as it is now in the place of the running one."""
        if self._reload is None or self._runner is None:
            return
        try:
            self._next = build(self._reload())
        except (ConfigError, ComponentError) as error:
            _log.error("The configuration is not used; the old one goes on.")
            for problem in str(error).splitlines():
                _log.error("%s", problem)
            return
        _log.info("The configuration is valid; the pipeline is drained and started anew.")
        self._runner.stop()


async def serve(
    settings: Settings,
    reload: Callable[[], Settings] | None = None,
    make_admin: MakeAdmin | None = None,
) -> int:
    """Run the pipeline of ``settings`` until SIGTERM, SIGINT or the end of all sources.

    Args:
        settings: a validated configuration.
        reload: loads the configuration again, for SIGHUP.
        make_admin: makes the admin endpoint; without it there is none.

    Returns:
        The exit status: 0, or that of the application which an ``exec`` source ran.

    Raises:
        ComponentError: something cannot start.
    """
    service = Service(settings, reload, make_admin)
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, partial(service.on_signal, number))
    try:
        with let_through():
            return await service.run()
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group of groups: one line for the user."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
