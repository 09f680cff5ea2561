"""What the pipeline looks like right now, as plain values: for ``/api/status``, health and the exit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from logflow import __version__
from logflow.telemetry.ledger import Ledger

if TYPE_CHECKING:
    from logflow.component import Source
    from logflow.pipeline.build import Pipeline
    from logflow.pipeline.flusher import Flusher
    from logflow.pipeline.router import SourceEmit

STALLED_S = 60.0
"""An output that has waiting events and made no progress for this long is stalled."""


def status(pipeline: Pipeline, *, running: bool) -> dict[str, Any]:
    """Describe sources, outputs and the ledger; says for each source which outputs it waits for."""
    return {
        "version": __version__,
        "engine": pipeline.engine.name,
        "running": running,
        "sources": {name: _source(source, pipeline.emits[name]) for name, source in pipeline.sources.items()},
        "outputs": {
            name: _output(flusher, pipeline.clock.monotonic()) for name, flusher in pipeline.flushers.items()
        },
        "stranded": [
            {"output": each.output, "events": each.events, "bytes": each.size} for each in pipeline.stranded
        ],
        "ledger": [account.as_dict() for account in pipeline.ledger.accounts()],
        "balanced": pipeline.ledger.balanced,
    }


def _source(source: Source, emit: SourceEmit) -> dict[str, Any]:
    return {
        "type": source.config.type,
        "blocked_on": sorted(output for output, waiting in emit.blocked_on.items() if waiting),
    }


def _output(flusher: Flusher, now_s: float) -> dict[str, Any]:
    waiting, state = flusher.buffer.waiting, flusher.status
    failing_s = None if state.failing_since_s is None else round(now_s - state.failing_since_s, 3)
    return {
        "type": flusher.output.config.type,
        "opened": state.opened,
        "problem": state.problem,
        "failing_s": failing_s,
        "stalled": is_stalled(flusher, now_s),
        "chunks": state.chunks,
        "retries": state.retries,
        **flusher.output.status(),
        "buffer": {
            "events": waiting.events,
            "bytes": waiting.size,
            "limit": waiting.limit,
            "oldest_s": round(waiting.oldest_s, 3),
            "full": flusher.buffer.full,
            "problem": flusher.buffer.problem,
        },
    }


def is_stalled(flusher: Flusher, now_s: float) -> bool:
    """Whether events wait and nothing has moved for a minute."""
    waiting = flusher.buffer.waiting
    since_s = min(waiting.oldest_s, now_s - flusher.status.progress_s)
    return waiting.events > 0 and since_s > STALLED_S


def ledger_table(ledger: Ledger) -> Iterator[str]:
    """The ledger as lines of text: what became of every event."""
    for account in ledger.accounts():
        if not account.read:
            continue
        dropped = ", ".join(f"{events} {reason}" for reason, events in sorted(account.dropped.items()))
        yield (
            f"Route {account.route} to {account.output}: {account.read} read = {account.delivered} delivered"
            f" + {account.waiting} waiting + {account.dropped.total()} dropped"
            f"{f' ({dropped})' if dropped else ''}."
        )
