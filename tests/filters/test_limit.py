"""The filter ``limit``: what is cut is marked and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.filters.limit import LimitFilter
from logflow.telemetry.metrics import Metrics
from logflow.testing import make_context


def test_what_is_cut_is_marked_and_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    config = LimitFilter.Config(field_bytes=3, fields=3, depth=2)  # type: ignore[arg-type]
    step = LimitFilter(config, make_context(tmp_path, metrics=metrics))
    batch = Batch.from_events("app", [(1, {"a": "12345", "b": {"c": {}}, "d": 1, "e": 2}), (2, {"a": "ok"})])
    assert [record for _, record in step.apply(batch).events()] == [
        {"a": "123", "b": {"c": "{}"}, "d": 1, "truncated": True},
        {"a": "ok"},
    ]
    counts = {cell.name: cell.value for cell in metrics.counters()}
    assert counts == {"texts_cut": 1, "containers_cut": 1, "fields_left_out": 1}


def test_a_limit_is_needed() -> None:
    with pytest.raises(ValidationError, match="set at least one of field_bytes"):
        LimitFilter.Config()
