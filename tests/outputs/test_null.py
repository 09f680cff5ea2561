"""The output to nowhere."""

from __future__ import annotations

from logflow.batch import Chunk
from logflow.outputs.null import NullOutput
from logflow.telemetry.metrics import Metrics
from logflow.testing import make_context


async def test_events_are_counted_and_gone(tmp_path):
    metrics = Metrics()
    output = NullOutput(NullOutput.Config(), make_context(tmp_path, kind="output", metrics=metrics))
    await output.open()
    await output.write(Chunk(b"i" * 16, "app", (b"",), 3))
    await output.write(Chunk(b"j" * 16, "app", (b"",), 4))
    await output.close()
    assert [(cell.name, cell.value) for cell in metrics.counters()] == [("events_thrown_away", 7)]
