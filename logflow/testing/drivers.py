"""Drive one component without a service around it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from logflow import registry
from logflow.batch import Batch
from logflow.clock import Clock, SystemClock
from logflow.component import Context, Parser, Source
from logflow.engine import load_engine
from logflow.event import EventTime, Record
from logflow.pipeline.contexts import Contexts
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.metrics import Metrics


def make_context(
    data_dir: Path,
    name: str = "test",
    *,
    kind: registry.Kind = "source",
    engine: str = "auto",
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    checkpoints: Checkpoints | None = None,
) -> Context:
    """Build a context as the service would; counters can be read back from ``metrics``.

    Unlike there, ``data_dir`` is the component's own directory.
    """
    contexts = Contexts(
        load_engine(engine),
        data_dir,
        checkpoints or Checkpoints(None),
        metrics or Metrics(),
        clock=clock or SystemClock(),
    )
    context = contexts.context(kind, name, logging.getLogger(f"logflow.{name}"))
    return replace(context, data_dir=data_dir)


def build_parser(context: Context, name: str, /, **options: Any) -> Parser:
    """Build a parser from its configuration: ``build_parser(context, "json", time_key="time")``.

    Raises:
        ConfigError: there is no parser of this name.
        pydantic.ValidationError: the options are not those of the parser.
    """
    return context.parser(registry.load("parser", name).Config(type=name, **options))


class Collector:
    """An ``Emit`` that keeps what it is given.

    Args:
        settle: resolve every receipt at once; otherwise :meth:`settle_all` does it.
    """

    def __init__(self, *, settle: bool = True) -> None:
        self.batches: list[Batch] = []
        self.receipts: list[Receipt] = []
        self.blocked = False
        self.drops: Counter[str] = Counter()
        self.letters: list[tuple[str, Batch]] = []
        self._settle = settle
        self._changed = asyncio.Condition()

    async def __call__(self, batch: Batch) -> Receipt:
        """Admit a batch; waits while :attr:`blocked`."""
        await self.ready(batch.tag)
        receipt = Receipt(1)
        async with self._changed:
            self.batches.append(batch)
            self.receipts.append(receipt)
            self._changed.notify_all()
        if self._settle:
            receipt.settle()
        return receipt

    async def ready(self, tag: str) -> None:  # noqa: ARG002 - one queue for all tags
        """Wait until not :attr:`blocked`."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.blocked)

    def full(self, tag: str) -> bool:  # noqa: ARG002
        """Whether :attr:`blocked`."""
        return self.blocked

    def dropped(self, tag: str, events: int, reason: str) -> None:  # noqa: ARG002
        """Count events that can never be used in :attr:`drops`, by reason."""
        self.drops[reason] += events

    async def refused(self, batch: Batch, why: str) -> None:
        """Keep events that can never be used in :attr:`letters`, with the reason."""
        self.letters.append((why, batch))

    async def unblock(self) -> None:
        """Let waiting sources go on."""
        async with self._changed:
            self.blocked = False
            self._changed.notify_all()

    def settle_all(self) -> None:
        """Resolve every open receipt, in order."""
        for receipt in self.receipts:
            if not receipt.done:
                receipt.settle()

    @property
    def count(self) -> int:
        """Events so far."""
        return sum(batch.count for batch in self.batches)

    def events(self) -> list[tuple[EventTime, Record]]:
        """Every event so far, decoded."""
        return [event for batch in self.batches for event in batch.events()]

    def records(self) -> list[Record]:
        """Every record so far."""
        return [record for _, record in self.events()]

    async def wait_for(self, events: int, timeout_s: float = 20.0) -> None:
        """Wait until at least ``events`` events have come.

        Raises:
            TimeoutError: they did not come in time.
        """
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self.count >= events)


@asynccontextmanager
async def run_source(source: Source, emit: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Open a source and run it until the block is left; then it is cancelled and drained."""
    await source.open()
    task = asyncio.create_task(source.run(emit))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.drain()
        await source.close()
