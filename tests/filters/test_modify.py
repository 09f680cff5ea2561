"""The filter ``modify``."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.filters.modify import ModifyFilter
from logflow.testing import make_context


@pytest.fixture
def run(tmp_path, engine):
    def run(record, **options):
        config = ModifyFilter.Config.model_validate({"type": "modify", **options})
        modify = ModifyFilter(config, make_context(tmp_path, kind="filter", engine=engine.name))
        changed = modify.apply(Batch.from_events("app.web", [(7, record)]))
        ((time, result),) = changed.events()
        assert (time, changed.count) == (7, 1)
        return list(result.items())

    return run


def test_every_change(run):
    record = {"a": 1, "b": 2, "c": 3}
    assert run(record, rename={"a": "x"}) == [("x", 1), ("b", 2), ("c", 3)]
    assert run(record, copy={"a": "x"}) == [("a", 1), ("b", 2), ("c", 3), ("x", 1)]
    assert run(record, default={"a": 0, "d": [1]}) == [("a", 1), ("b", 2), ("c", 3), ("d", [1])]
    assert run(record, set={"b": {"k": None}}) == [("a", 1), ("b", {"k": None}), ("c", 3)]
    assert run(record, remove=["b", "none"]) == [("a", 1), ("c", 3)]


def test_values_may_use_tag_hostname_and_fields(run):
    host = os.uname().nodename
    template = "{tag}@{hostname}: {n} {user.name} {none}{{}}"
    assert run({"n": 5, "user": {"name": "é"}}, set={"text": template})[-1] == (
        "text", f"app.web@{host}: 5 é {{}}",
    )  # fmt: skip


def test_changes_are_made_in_the_documented_order(run):
    options = {"remove": ["b"], "set": {"c": "{b}"}, "copy": {"b": "d"}, "rename": {"a": "b"}}
    assert run({"a": 1}, **options) == [("d", 1), ("c", "1")]


def test_an_empty_modify_is_refused():
    with pytest.raises(ValidationError, match="set at least one of"):
        ModifyFilter.Config.model_validate({"type": "modify"})
