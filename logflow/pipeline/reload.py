"""Changes a running pipeline to what the configuration says now.

1. What is new or changed is built and opened beside what runs. If any of it cannot be opened (a port in use,
   a missing file) it is closed again, and nothing has changed.
2. From one moment to the next events take the new routes. Filters are always made anew; stages give out what
   they hold first.
3. Sources and outputs whose configuration is the same go on as they are. Those that changed are replaced: an
   output goes on with the same buffer; a source that listens hands its sockets over, one that reads files is
   followed by its successor when everything that it has read is safe. What is no longer configured ends.

The ledger, the counters, the buffers and the positions live through all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from logflow.component import Source
from logflow.config.models import Settings
from logflow.config.options import OutputConfig
from logflow.errors import ComponentError
from logflow.net.listen import handing_over
from logflow.pipeline.build import Draft, draft, keeps_state
from logflow.pipeline.flusher import Flusher
from logflow.pipeline.router import SourceEmit
from logflow.pipeline.runner import Runner, quietly

_log = logging.getLogger("logflow.service")

_FIXED = ("data_dir", "engine", "memory_limit")


async def reload(runner: Runner, settings: Settings) -> None:
    """Change the pipeline of ``runner`` to ``settings``; returns when nothing old is left.

    Raises:
        ComponentError: it cannot be done; nothing has changed.
    """
    _check_fixed(runner, settings)
    planned = draft(runner.pipeline, settings)
    async with AsyncExitStack() as stack:

        async def opened(open_: Callable[[], Awaitable[None]], close: Callable[[], Awaitable[None]]) -> None:
            stack.push_async_callback(quietly, close)
            await open_()

        for step in planned.router.filters:
            await opened(step.open, step.close)
        for name, flusher in planned.flushers.items():
            if name not in runner.pipeline.flushers:
                stack.push_async_callback(quietly, flusher.buffer.close)
                await runner.open_buffer(flusher)
        with handing_over():
            for source in planned.sources.values():
                await opened(source.open, source.close)
        stack.pop_all()
    _change(runner, planned)
    await runner.changed()


def _check_fixed(runner: Runner, settings: Settings) -> None:
    old = runner.pipeline.settings
    changed = [key for key in _FIXED if getattr(old, key) != getattr(settings, key)]
    if changed:
        raise ComponentError(f"{' and '.join(changed)} cannot change while it runs; restart it for that")
    if keeps_state(settings) and not keeps_state(old):
        raise ComponentError(
            f"the new configuration keeps state in {settings.data_dir}, which this process does not use yet; "
            "restart it for that"
        )


def _change(runner: Runner, planned: Draft) -> None:
    pipeline = runner.pipeline
    old_router, old_settings = pipeline.router, pipeline.settings
    emits = pipeline.emits
    gone = {name: source for name, source in pipeline.sources.items() if name not in planned.kept_sources}
    removed = [flusher for name, flusher in pipeline.flushers.items() if name not in planned.settings.outputs]
    replaced = {
        name: (pipeline.flushers[name], flusher)
        for name, flusher in planned.flushers.items()
        if name in pipeline.flushers
    }
    pipeline.settings = planned.settings
    pipeline.router = planned.router
    for emit in emits.values():
        emit.follow(planned.router)
    pipeline.emits = planned.emits
    pipeline.sources = {**{name: pipeline.sources[name] for name in planned.kept_sources}, **planned.sources}
    outputs = {**pipeline.flushers, **planned.flushers}
    pipeline.flushers = {name: outputs[name] for name in planned.settings.outputs}
    runner.change(runner.retire(old_router, planned.router))
    for name, (old, new) in replaced.items():
        _take_options(name, new, old_settings.outputs[name], planned.settings.outputs[name])
        runner.change(_replace_output(runner, old, new))
    for name, flusher in planned.flushers.items():
        if name not in replaced:
            runner.start_flusher(flusher)
    for flusher in removed:
        runner.change(runner.remove_output(flusher))
    for name in {*gone, *planned.sources}:
        runner.change(_replace_source(runner, name, planned, emits.get(name), gone.get(name)))
    runner.start_replaying()


def _take_options(name: str, flusher: Flusher, old: object, new: object) -> None:
    """An output that was replaced goes on with the buffer that it has."""
    assert isinstance(old, OutputConfig)
    assert isinstance(new, OutputConfig)
    if old.buffer != new.buffer and not (
        old.buffer.type == new.buffer.type and flusher.buffer.reconfigure(new.buffer)
    ):
        _log.warning("The new buffer options of output %s take effect after a restart.", name)


async def _replace_output(runner: Runner, old: Flusher, new: Flusher) -> None:
    await runner.stop_flusher(old)
    new.take_over(old)
    runner.start_flusher(new)


async def _replace_source(
    runner: Runner, name: str, planned: Draft, emit: SourceEmit | None, old: Source | None
) -> None:
    if old is not None and emit is not None:
        await runner.stop_source(name, old, emit)
    if (new := planned.sources.get(name)) is not None:
        runner.start_source(name, new)
