"""What the pipeline looks like right now, as plain values: for ``/api/status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logflow import __version__
from logflow.admin.health import is_stalled, problems, warnings
from logflow.pipeline.guard import GuardedFilter

if TYPE_CHECKING:
    from logflow.component import Source
    from logflow.pipeline.build import Pipeline
    from logflow.pipeline.flusher import Flusher
    from logflow.pipeline.router import SourceEmit


def status(pipeline: Pipeline, *, running: bool) -> dict[str, Any]:
    """Describe sources, outputs and the ledger; says for each source which outputs it waits for."""
    return {
        "version": __version__,
        "engine": pipeline.engine.name,
        "running": running,
        "problems": list(problems(pipeline)),
        "warnings": list(warnings(pipeline)),
        "sources": {name: _source(source, pipeline.emits[name]) for name, source in pipeline.sources.items()},
        "outputs": {
            name: _output(flusher, pipeline.clock.monotonic(), pipeline.dead_letters.kept(name))
            for name, flusher in pipeline.flushers.items()
        },
        "filters": [
            {"name": step.name, "type": step.step.config.type, "events": step.seen, "fields": dict(fields)}
            for step in pipeline.router.steps
            if isinstance(step, GuardedFilter) and (fields := step.step.present())
        ],
        "checkpoints": {
            "problem": pipeline.checkpoints.problem,
            "damaged_bytes": pipeline.checkpoints.damaged_bytes,
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
        "blocked_on": list(waits := emit.blocked_on.waits()),
        "blocked_for_s": {output: round(for_s, 3) for output, for_s in waits.items()},
    }


def _output(flusher: Flusher, now_s: float, letters: int) -> dict[str, Any]:
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
        "dead_letters": {"kept": letters, "written": state.letters},
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
