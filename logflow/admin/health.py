"""What is wrong with a pipeline: problems, for which it is not ready, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from logflow.errors import counted

if TYPE_CHECKING:
    from logflow.pipeline.build import Pipeline
    from logflow.pipeline.flusher import Flusher

STALLED_S = 60.0
"""An output that has waiting events and made no progress for this long is stalled; a source that has waited
for an output for this long is blocked."""
_TROUBLE = {
    "tls_handshakes_failed": "TLS handshakes failed",
    "filter_errors": "events for which a filter failed",
    "buffer_corrupt_bytes": "damaged bytes in the disk buffer",
    "journal_damaged_bytes": "damaged bytes in the journal of the files",
}
"""Counters that tell of trouble, and what they count."""


def problems(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for everything that keeps events from where they should be."""
    now_s = pipeline.clock.monotonic()
    if pipeline.checkpoints.problem is not None:
        yield f"positions cannot be recorded: {pipeline.checkpoints.problem}"
    for name, flusher in pipeline.flushers.items():
        if not flusher.status.opened:
            yield f"output {name} is not open: {flusher.status.problem or 'it is being opened'}"
        elif flusher.buffer.problem is not None:
            yield f"output {name} cannot store events: {flusher.buffer.problem}"
        elif is_stalled(flusher, now_s):
            yield f"output {name} is stalled: {flusher.status.problem or 'no progress'}"
        elif (for_s := _all_down_for_s(flusher)) > STALLED_S:
            yield f"output {name} has had no server that works for {for_s:.0f} s"
    for name, emit in pipeline.emits.items():
        for output, for_s in emit.blocked_on.waits().items():
            if for_s > STALLED_S:
                yield f"source {name} has waited for room in the buffer of output {output} for {for_s:.0f} s"


def warnings(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for everything that somebody should look at, though events flow."""
    for name, flusher in pipeline.flushers.items():
        if flusher.status.opened and flusher.status.problem is not None:
            yield f"output {name} fails for some events: {flusher.status.problem}"
        if down := [server for server, told in _servers(flusher).items() if told["state"] == "down"]:
            yield f"output {name} has servers that are down: {', '.join(down)}"
        if letters := pipeline.dead_letters.kept(name):
            yield f"output {name} has {counted(letters, 'dead letter')}; see logflow dead-letter list"
    for cell in pipeline.metrics.counters():
        if cell.value and cell.name in _TROUBLE:
            yield f"{cell.kind} {cell.component}: {cell.value} {_TROUBLE[cell.name]}"
    if damaged := pipeline.checkpoints.damaged_bytes:
        yield f"{damaged} damaged bytes in the checkpoints"
    for each in pipeline.stranded:
        yield f"{counted(each.events, 'event', 'wait')} in the buffer of {each.output}, which no output uses"


def _servers(flusher: Flusher) -> Mapping[str, Mapping[str, Any]]:
    """What an output tells of the servers among which it chooses."""
    servers: Mapping[str, Mapping[str, Any]] = flusher.output.status().get("servers", {})
    return servers


def _all_down_for_s(flusher: Flusher) -> float:
    """For how long no server has worked; 0 while one does or may do, or where there are none."""
    servers = _servers(flusher).values()
    if all(server["state"] != "down" for server in servers):  # time brought them back, to be tried
        return 0.0
    return min(float(server["down_for_s"]) for server in servers)


def is_stalled(flusher: Flusher, now_s: float) -> bool:
    """Whether events wait and nothing has moved for a minute."""
    waiting = flusher.buffer.waiting
    since_s = min(waiting.oldest_s, now_s - flusher.status.progress_s)
    return waiting.events > 0 and since_s > STALLED_S
