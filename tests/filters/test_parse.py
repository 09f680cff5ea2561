"""The filter ``parse``."""

from __future__ import annotations

import pytest

from logflow.batch import Batch, Span
from logflow.filters.parse import ParseFilter
from logflow.telemetry.metrics import Metrics
from logflow.testing import make_context

SPAN = Span("file", 0, 100)


@pytest.fixture
def run(tmp_path):
    def run(*records, parser=None, **options):
        run.metrics = Metrics()
        config = ParseFilter.Config(parser=parser or {"type": "json"}, **options)
        parse = ParseFilter(config, make_context(tmp_path, kind="filter", metrics=run.metrics))
        result = parse.apply(Batch.from_events("app", [(7, record) for record in records], SPAN))
        if result is None:
            return None
        assert (result.tag, result.origin, result.count) == ("app", SPAN, len(list(result.events())))
        return [(time, record) for time, record in result.events()]

    return run


def unparsed(run):
    return {cell.name: cell.value for cell in run.metrics.counters()}["fields_unparsed"]


def test_what_was_found_takes_the_place_of_the_text(run):
    assert run({"message": '{"a":1,"message":"inner"}', "n": 1}) == [
        (7, {"n": 1, "a": 1, "message": "inner"})
    ]
    assert unparsed(run) == 0


def test_own_fields_are_never_overwritten(run):
    assert run({"message": '{"n":2,"m":3}', "n": 1}, keep_original=True) == [
        (7, {"message": '{"n":2,"m":3}', "n": 1, "m": 3})
    ]


def test_what_was_found_may_become_a_map(run):
    assert run({"log": '{"a":1}'}, field="log", into="log") == [(7, {"log": {"a": 1}})]
    assert run({"log": '{"a":1}', "x": 1}, field="log", into="x") == [(7, {"x": 1})]


def test_a_time_that_was_found_becomes_the_events(run):
    parser = {"type": "json", "time_key": "t", "time_format": "unix"}
    assert run({"message": '{"t":0}'}, {"message": '{"t":5,"a":1}'}, parser=parser) == [
        (0, {}), (5_000_000_000, {"a": 1}),
    ]  # fmt: skip


def test_what_does_not_parse_is_kept_and_counted_or_dropped(run):
    records = [{"message": "no"}, {"message": 5}, {"n": 1}, {"message": '{"a":1}'}, {"message": b'{"b":1}'}]
    good = [(7, {"n": 1}), (7, {"a": 1}), (7, {"b": 1})]
    assert run(*records) == [(7, {"message": "no"}), (7, {"message": 5}), *good]
    assert unparsed(run) == 2
    assert run(*records, on_error="drop") == good
    assert run(records[0], on_error="drop") is None
    assert unparsed(run) == 1


def test_a_parser_that_matches_everything_leaves_numbers_alone(run):
    assert run({"message": 5}, parser={"type": "raw", "key": "text"}) == [(7, {"message": 5})]
