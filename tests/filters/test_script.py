"""The filter ``script``."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from logflow import registry
from logflow.batch import Batch
from logflow.component import EventsFailed
from logflow.errors import ComponentError
from logflow.filters.script import ScriptFilter
from logflow.testing import make_context


@pytest.fixture
def make(tmp_path):
    def make(code, name="clean", metrics=None, **options):
        path = tmp_path / "filters.py"
        path.write_text(code)
        config = ScriptFilter.Config(path=f"{path}:{name}", **options)
        return ScriptFilter(config, make_context(tmp_path, kind="filter", metrics=metrics))

    return make


def apply(filter_, *records_):
    result = filter_.apply(Batch.from_events("app", [(7, record) for record in records_]))
    return result and records(result)


def records(batch):
    return [record for _, record in batch.events()]


def test_a_function_of_a_record_changes_keeps_and_drops(make):
    clean = make("def clean(record):\n    record['seen'] = True\n    return record if record['n'] else None")
    assert apply(clean, {"n": 1}, {"n": 0}) == [{"n": 1, "seen": True}]
    assert apply(clean, {"n": 0}) is None


def test_a_function_of_time_and_record(make):
    assert apply(make("def clean(time, record):\n    return {'time': time.isoformat()}"), {}) == [
        {"time": "1970-01-01T00:00:00.000000007Z"}
    ]


def test_a_module_that_is_installed(tmp_path):
    config = ScriptFilter.Config(module="copy:copy")
    assert apply(ScriptFilter(config, make_context(tmp_path, kind="filter")), {"n": 1}) == [{"n": 1}]


def test_an_exception_concerns_its_event_alone(make):
    clean = make("def clean(record):\n    record['a']['b'] = 1\n    return 1 / record['n'] and record")
    with pytest.raises(EventsFailed, match="ZeroDivisionError: division by zero") as caught:
        apply(clean, {"a": {}, "n": 0}, {"a": {}, "n": 1})
    assert records(caught.value.failed) == [{"a": {}, "n": 0}]
    assert records(caught.value.without) == [{"a": {"b": 1}, "n": 1}]
    assert records(caught.value.unchanged) == [{"a": {}, "n": 0}, {"a": {"b": 1}, "n": 1}]


@pytest.mark.parametrize("what", ["raise KeyboardInterrupt", "import sys; sys.exit(1)", "return True"])
def test_whatever_is_no_record_is_an_error(make, what):
    with pytest.raises(EventsFailed) as caught:
        apply(make(f"def clean(record):\n    {what}"), {"n": 1})
    assert records(caught.value.failed) == [{"n": 1}]
    assert caught.value.without is None


def test_what_it_fails_for_becomes_a_dead_letter_unless_told_otherwise(tmp_path):
    """A function that redacts must not let an event pass by failing."""
    assert ScriptFilter.Config(module="copy:copy").on_error == "dead_letter"
    assert ScriptFilter.Config(module="copy:copy", on_error="keep").on_error == "keep"


def test_a_dataclass_in_the_file_works(make):
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass A:\n    x: int\n\n"
        "def clean(record):\n    return {'x': A(1).x}"
    )
    assert apply(make(code), {}) == [{"x": 1}]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def other(record): ...", "has no attribute 'clean'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def clean(", "SyntaxError"),
        ("clean = 5", "is not a function"),
        ("class clean: ...", "is not a function"),
        ("async def clean(record): ...", "must not be async"),
        ("def clean(): ...", "must take (record) or (time, record)"),
        ("def clean(a, b, c): ...", "must take (record) or (time, record)"),
        ("def clean(record, *, option): ...", "must take (record) or (time, record)"),
    ],
)
def test_what_cannot_be_used_is_named(make, code, problem):
    with pytest.raises(ComponentError, match=re.escape(problem)) as caught:
        make(code)
    assert "filters.py:clean" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    config = ScriptFilter.Config(path=f"{tmp_path}/none.py:clean")
    with pytest.raises(ComponentError, match=r"none\.py:clean.*No such file"):
        ScriptFilter(config, make_context(tmp_path, kind="filter"))


@pytest.mark.parametrize(
    "options", [{}, {"module": "a:b", "path": "c.py:d"}, {"module": "a"}, {"path": "a.py:b-c"}]
)
def test_a_mistake_in_the_configuration_is_explained(options):
    with pytest.raises(ValidationError):
        ScriptFilter.Config(**options)


def test_a_function_of_a_whole_batch(make):
    """It returns the events to go on with, in its order."""
    clean = make(
        "def clean(events):\n    return [(t + 1, {**r, 'of': len(events)}) for t, r in events[1:]]",
        per="batch",
    )
    batch = Batch.from_events("app", [(7, {"n": 1}), (8, {"n": 2})])
    assert list(clean.apply(batch).events()) == [(9, {"n": 2, "of": 2})]
    assert make("def clean(events):\n    return []", per="batch").apply(batch) is None


@pytest.mark.parametrize("returned", ["None", "5", "[{}]", "[(1, 2)]", "[('1', {})]", "[(-1, {})]"])
def test_what_is_no_list_of_events_is_an_error(make, returned):
    clean = make(f"def clean(events):\n    return {returned}", per="batch")
    with pytest.raises(TypeError, match="returned"):
        clean.apply(Batch.from_events("app", [(7, {})]))


def test_a_function_of_a_batch_takes_one_argument(make):
    with pytest.raises(ComponentError, match=r"must take \(events\)"):
        make("def clean(time, record):\n    return record", per="batch")


def test_its_former_name_is_understood():
    assert registry.load("filter", "python") is registry.load("filter", "script")
    assert "python" not in registry.names("filter")
