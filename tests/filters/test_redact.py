"""The filter ``redact``: what it is told, what it counts, and that it lets nothing pass when it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.errors import ComponentError
from logflow.filters.redact import RedactFilter
from logflow.telemetry.metrics import Metrics
from logflow.testing import make_context


def redact(tmp_path: Path, metrics: Metrics | None = None, **options: Any) -> RedactFilter:
    return RedactFilter(RedactFilter.Config(**options), make_context(tmp_path, metrics=metrics))


def test_texts_are_hidden_and_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    step = redact(tmp_path, metrics, detectors=["email", "ip"], patterns={"order": "O-[0-9]+"})
    batch = Batch.from_events("app", [(1, {"m": "a@b.de O-1 O-2", "n": {"o": ["c@d.de"]}})])
    ((_, record),) = step.apply(batch).events()
    assert record == {"m": "[email] [order] [order]", "n": {"o": ["[email]"]}}
    counts = {cell.name: cell.value for cell in metrics.counters()}
    assert counts == {"redacted_email": 2, "redacted_ip": 0, "redacted_order": 2}


def test_a_batch_without_a_find_stays_the_same(tmp_path: Path) -> None:
    batch = Batch.from_events("app", [(1, {"m": "nothing"})])
    assert redact(tmp_path, detectors=["email"]).apply(batch) is batch


async def test_the_key_of_hashes_may_stand_in_a_file_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    step = redact(tmp_path, detectors=["email"], action="hash", key={"file": str(path)})
    with pytest.raises(ComponentError, match="cannot use the secret"):
        await step.open()
    path.write_text("one")
    await step.open()
    batch = Batch.from_events("app", [(1, {"m": "a@b.de"})])
    before = step.apply(batch).entries
    path.write_text("another")
    assert step.apply(batch).entries != before


def test_events_for_which_it_fails_become_dead_letters() -> None:
    assert RedactFilter.Config(detectors=["email"]).on_error == "dead_letter"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set detectors or patterns"),
        ({"detectors": ["mail"]}, "Input should be 'email'"),
        ({"patterns": {"A b": "x"}}, "is not a name such as customer_id"),
        ({"patterns": {"a": "(?=x)"}}, "looks ahead"),
        ({"patterns": {"a": r"(a|b|ab)*\S+@\S+"}}, "more than the square"),
        ({"detectors": ["ip"], "action": "hash"}, "the action hash needs a key"),
        ({"detectors": ["ip"], "key": "x"}, "the action hash needs a key"),
        ({"detectors": ["ip"], "fields": ["a["]}, "not the path of a field"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RedactFilter.Config(**options)
