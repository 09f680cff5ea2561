"""The filter ``set``: computed fields, the time, and the shape of records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.filters.set import SetFilter
from logflow.testing import make_context


def applied(tmp_path: Path, record: dict[str, Any], **options: Any) -> tuple[int, dict[str, Any]]:
    made = SetFilter(SetFilter.Config(**options), make_context(tmp_path))
    ((time, changed),) = made.apply(Batch.from_events("app", [(5, record)])).events()
    return time, changed


def test_all_changes_are_made_in_the_documented_order(tmp_path: Path) -> None:
    """Fields, names, what is removed, what is kept, mappings made, mappings divided."""
    record = {"http_code": 200, "http_path": "/x", "user": {"id": 7, "password": "x"}, "at": 12, "noise": 1}
    assert applied(
        tmp_path,
        record,
        flatten=["user"],
        separator="_",
        nest={"http": ["http_*"]},
        only=["http_*", "user", "ok"],
        remove=["**.password", "http_path"],
        rename={"http_code": "http_status"},
        fields={"ok": "http_code < 400", "user.at": "at"},
        time="at",
    ) == (12_000_000_000, {"user_id": 7, "user_at": 12, "ok": True, "http": {"status": 200}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set at least one of fields"),
        ({"separator": "_"}, "set at least one of fields"),
        ({"remove": ["a["]}, "not the path of a field"),
        ({"flatten": ["a.b"]}, "not the name of a field"),
        ({"nest": {"a": ["b[0]"]}}, "not the name of a field"),
        ({"fields": {"a": "lenght(b)"}}, "did you mean 'len'"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SetFilter.Config(**options)
