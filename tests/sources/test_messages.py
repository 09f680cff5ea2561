"""Messages of a broker."""

from __future__ import annotations

from pathlib import Path

from logflow.sources.messages import MessageReader, MessagesConfig
from logflow.telemetry.metrics import Metrics
from logflow.testing import make_context


def test_the_tags_that_senders_choose_are_bounded(tmp_path: Path) -> None:
    metrics = Metrics()
    reader = MessageReader(
        MessagesConfig(type="nats", tag="t", max_tags=2), make_context(tmp_path, metrics=metrics)
    )
    batches = [reader.batch(tag, [b'{"n":1}']) for tag in ("a", "b", "c", "a")]
    assert [batch.tag for batch in batches] == ["a", "b", "overflow", "a"]
    assert [record for _, record in batches[2].events()] == [{"n": 1, "tag": "c"}]
    assert {cell.name: cell.value for cell in metrics.counters()}["tags_overflowed"] == 1
