"""The filter ``grep``."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Span
from logflow.filters.grep import GrepFilter
from logflow.testing import make_context

SPAN = Span("file", 0, 100)


@pytest.fixture
def run(tmp_path, engine):
    def run(*records, **options):
        grep = GrepFilter(
            GrepFilter.Config(**options), make_context(tmp_path, kind="filter", engine=engine.name)
        )
        batch = Batch.from_events("app", [(n, record) for n, record in enumerate(records)], SPAN)
        return batch, grep.apply(batch)

    return run


def records(batch):
    return [record for _, record in batch.events()]


def test_excluded_events_are_dropped_and_the_rest_stays_as_it_was(run):
    _, kept = run({"level": "debug"}, {"level": "info"}, {"n": 1}, exclude={"level": "^debug$"})
    assert records(kept) == [{"level": "info"}, {"n": 1}]
    assert (kept.count, kept.tag, kept.origin) == (2, "app", SPAN)


def test_a_batch_of_which_all_is_kept_is_not_copied(run):
    batch, kept = run({"level": "info"}, exclude={"level": "debug"})
    assert kept is batch


def test_nothing_left_is_none(run):
    assert run({"level": "debug"}, exclude={"level": "debug"})[1] is None


def test_keep_needs_all_patterns_or_one(run):
    events = [{"a": "1", "b": "x"}, {"a": "1", "b": "y"}, {"a": "2"}]
    assert records(run(*events, keep={"a": "1", "b": "x"})[1]) == events[:1]
    assert records(run(*events, keep={"a": "2", "b": ["x", "z"]}, mode="or")[1]) == [events[0], events[2]]


def test_paths_and_values_that_are_not_text(run):
    events = [{"k": {"ns": "a"}, "n": 500}, {"k": {"ns": "b"}, "n": 404}]
    assert records(run(*events, keep={"k.ns": "^a$"})[1]) == events[:1]
    assert records(run(*events, exclude={"n": "^5.."})[1]) == events[1:]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "set keep or exclude"),
        ({"keep": {"a": "("}}, "'(' is not a regular expression"),
        ({"keep": {"a": ["x", "(?=a)"]}}, "looks ahead"),
        ({"keep": {"a": 1}}, "list"),
        ({"keep": {"a": "x"}, "mode": "xor"}, "'and' or 'or'"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(options, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        GrepFilter.Config(**options)
