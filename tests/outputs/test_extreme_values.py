"""Times that no clock shows, and records at the edges, to every store over HTTP: all of them are encoded.

An event's time is held between 1970 and 2106 when it is packed, so that each store can hold it.
"""

from __future__ import annotations

import pytest

from logflow import registry
from logflow.batch import Batch, Chunk
from logflow.event import MAX_TIME_NS
from logflow.testing import make_context

YEAR_1, YEAR_2500 = -62_135_596_800 * 10**9, 16_725_225_600 * 10**9
TIMES = {"ante": YEAR_1, "last": -1, "first": 0, "now": 1_790_000_000 * 10**9, "post": YEAR_2500}
STORES = {
    "http": {},
    "elasticsearch": {},
    "loki": {"encoding": "json"},
    "otlp": {"compress": "none"},
    "clickhouse": {"table": "logs"},
    "splunk_hec": {"token": "t"},
    "datadog": {"api_key": "k"},
    "gelf": {},
}
LAST = {
    "http": b"2106-02-07T06:28:15.999999999Z",
    "elasticsearch": b"2106-02-07T06:28:15.999999999Z",
    "clickhouse": b"2106-02-07T06:28:15.999999999Z",
    "otlp": MAX_TIME_NS.to_bytes(8, "little"),
    "loki": b"4294967295999999999",
    "splunk_hec": b"4294967295.999",
    "gelf": b"4294967296.0",
    "datadog": b"2106-02-07T06:28:15.999999999Z",
}


def encoded(name, tmp_path, engine, *records, times):
    component = registry.load("output", name)
    config = component.Config(endpoints=["http://127.0.0.1:9"], **STORES[name])
    output = component(config, make_context(tmp_path, kind="output", engine=engine))
    batch = Batch.from_events("app", zip(times, records, strict=True))
    return b"".join(output.body([Chunk(bytes(16), "app", (batch.entries,), batch.count)]))


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("name", STORES)
def test_times_out_of_any_range_are_held_within_it(name, engine, tmp_path):
    records = [{"message": f"<{mark}>"} for mark in TIMES]
    body = encoded(name, tmp_path, engine, *records, times=TIMES.values())
    for mark in TIMES:
        assert body.count(mark.encode()) >= 1, mark
    assert LAST[name] in body
    assert b"2500" not in body
    assert b"0001-01" not in body


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("name", STORES)
def test_a_strange_record_costs_no_neighbour(name, engine, tmp_path):
    deep: dict[str, object] = {}
    for _ in range(90):
        deep = {"d": deep}
    strange = [
        {"": 1, ".": 2, "a..b": 3, "_id": "x", "_": None}, {"k" * 40_000: "v"},
        {"message": "\0\ud800" + "\U0010ffff"}, {"n": -(2**63), "m": 2**64 - 1},
        {"message": None, "level": [], "trace_id": {}, "span_id": "zz"}, deep,
        {"f": float("inf"), "g": float("nan"), "h": 1e308}, {"b": b"\xff\0"}, {},
    ]  # fmt: skip
    records = [{"message": "<before>"}, *strange, {"message": "<after>"}]
    body = encoded(name, tmp_path, engine, *records, times=[TIMES["now"]] * len(records))
    assert b"before" in body
    assert b"after" in body
