"""The service: a pipeline under the control of signals.

Every signal goes to the sources first: an ``exec`` source hands it on to the application. Then:

=======================  ==================================================================================
SIGTERM SIGINT SIGQUIT   stop the sources and flush what waits; a second one skips the flush: what is not
                         delivered stays on disk, or in the log files with its position unmoved
SIGHUP                   if no source took it: load the configuration again; what is new or different in it
                         takes the place of what there was, or nothing changes if it cannot be used
SIGUSR1 SIGUSR2 SIGWINCH nothing more
=======================  ==================================================================================
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from logflow.component import ComponentConfig
from logflow.config.models import AdminOptions, Settings
from logflow.errors import ComponentError, ConfigError
from logflow.net.descriptors import raise_limit
from logflow.pipeline.allocator import give_back_large_blocks
from logflow.pipeline.build import Pipeline, build
from logflow.pipeline.reload import reload
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
    """Runs one pipeline, and changes it when it is asked to."""

    def __init__(
        self, settings: Settings, load: Callable[[], Settings] | None, make_admin: MakeAdmin | None = None
    ) -> None:
        self._load = load
        self._make_admin = make_admin
        self._admin: Admin | None = None
        self._runner = Runner(build(settings))
        self._reloading: asyncio.Task[None] | None = None
        self._again = False

    async def run(self) -> int:
        """Run until stopped; returns the exit status."""
        options = self._runner.pipeline.settings.admin
        self._admin = await self._open_admin(options)
        settings = self._runner.pipeline.settings
        _log.info("From %s to %s.", _named(settings.sources), _named(settings.outputs))
        try:
            return await self._runner.run()
        finally:
            if self._reloading is not None:
                self._reloading.cancel()
                await asyncio.gather(self._reloading, return_exceptions=True)
            if self._admin is not None:
                await self._admin.close()
            for line in ledger_table(self._runner.pipeline.ledger):
                _log.info("%s", line)

    async def _open_admin(self, options: AdminOptions) -> Admin | None:
        """Listen for those who ask how things are."""
        if self._make_admin is None or options.listen is None:
            return None
        admin = self._make_admin(options, self._now)
        await admin.open()
        return admin

    def _now(self) -> tuple[Pipeline | None, bool]:
        return self._runner.pipeline, self._runner.running

    def on_signal(self, number: int) -> None:
        """Do what a signal asks for; the table above says what that is."""
        taken = self._runner.on_signal(number)
        if number in STOPPING:
            self._runner.stop()
        elif number == signal.SIGHUP and not taken:
            self.on_reload()

    def on_reload(self) -> None:
        """Change the pipeline to the configuration as it is now; if one is under way, once more after it."""
        if self._load is None or not self._runner.running:
            return
        if self._reloading is not None:
            self._again = True
            return
        self._reloading = asyncio.create_task(self._reload(self._load))
        self._reloading.add_done_callback(self._reloaded)

    def _reloaded(self, _: asyncio.Task[None]) -> None:
        self._reloading = None
        if self._again:
            self._again = False
            self.on_reload()

    async def _reload(self, load: Callable[[], Settings]) -> None:
        try:
            await self._change_to(load())
        except (ConfigError, ComponentError) as error:
            _log.error("The configuration is not used; the old one goes on.")
            for problem in str(error).splitlines():
                _log.error("%s", problem)
        except Exception as error:
            _log.exception("The configuration could not be loaded again: %s.", error)
        else:
            _log.info("The new configuration is in use.")

    async def _change_to(self, settings: Settings) -> None:
        """Change everything, or nothing."""
        old, new = self._runner.pipeline.settings.admin, settings.admin
        moves = old.listen != new.listen
        admin = await self._open_admin(new) if moves else None
        try:
            await reload(self._runner, settings)
        except BaseException:
            if admin is not None:
                await admin.close()
            raise
        if old == new:
            return
        if self._admin is not None:
            await self._admin.close()
        self._admin = admin if moves else await self._open_admin(new)


async def serve(
    settings: Settings,
    load: Callable[[], Settings] | None = None,
    make_admin: MakeAdmin | None = None,
) -> int:
    """Run the pipeline of ``settings`` until SIGTERM, SIGINT or the end of all sources.

    Args:
        settings: a validated configuration.
        load: loads the configuration again, for SIGHUP.
        make_admin: makes the admin endpoint; without it there is none.

    Returns:
        The exit status: that of the application which an ``exec`` source ran; otherwise 1 if events were lost
        at the stop, 0 if not.

    Raises:
        ComponentError: something cannot start.
    """
    raise_limit()
    give_back_large_blocks()
    service = Service(settings, load, make_admin)
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


def _named(components: Mapping[str, ComponentConfig]) -> str:
    return ", ".join(f"{name} ({options.type})" for name, options in components.items())


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group of groups: one line for the user."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
