"""The oracle notices each way in which a pipeline can fail."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.testing.oracle import DeliveryVerdict, Oracle, Text, numbered_line, percentile

TEXT = Text.of('GET /caf\u00e9 "200"\n\t\\')


def arrived(seq: int, *, container: str = "web-0", stream: str = "stdout") -> bytes:
    """A line as a destination shows it: with what the pipeline added."""
    record = msgspec.json.decode(numbered_line(container, seq, 1000, TEXT))
    return msgspec.json.encode({"@timestamp": "x", "@tag": "t", **record, "stream": stream}) + b"\n"


def judge(*seqs: int, written: int = 3) -> DeliveryVerdict:
    oracle = Oracle({"web-0/stdout": written})
    oracle.feed(b"".join(map(arrived, seqs)))
    return oracle.verdict()


def test_all_lines_once_in_order_is_exactly_once() -> None:
    verdict = judge(0, 1, 2)
    assert verdict.exactly_once
    assert (verdict.written, verdict.delivered, verdict.examples) == (3, 3, ())


def test_a_missing_line_is_lost_wherever_it_stood() -> None:
    for missing in range(3):
        verdict = judge(*(seq for seq in range(3) if seq != missing))
        assert (verdict.lost, verdict.delivered, verdict.exactly_once) == (1, 2, False)
        assert verdict.examples == (f"web-0/stdout {missing}: it did not arrive (1 of 3 did not)",)


def test_a_series_of_which_nothing_arrived_is_lost() -> None:
    assert judge().lost == 3


def test_a_repeated_line_is_doubled_and_not_disordered() -> None:
    verdict = judge(0, 1, 2, 0, 0)
    assert (verdict.doubled, verdict.disordered, verdict.delivered) == (2, 0, 3)
    assert not verdict.exactly_once


def test_a_line_after_a_later_one_is_disordered() -> None:
    verdict = judge(0, 2, 1)
    assert (verdict.disordered, verdict.lost, verdict.doubled) == (1, 0, 0)
    assert not verdict.exactly_once


def test_order_is_compared_within_a_flow_and_a_series_only() -> None:
    oracle = Oracle({"web-0/stdout": 2, "web-0/stderr": 1})
    oracle.feed(arrived(1), flow="aggregator-0")
    oracle.feed(arrived(0), flow="aggregator-1")
    oracle.feed(arrived(0, stream="stderr"), flow="aggregator-0")
    assert oracle.verdict().exactly_once


def test_streams_are_told_apart_by_what_the_pipeline_added() -> None:
    oracle = Oracle({"web-0/stdout": 1, "web-0/stderr": 1})
    oracle.feed(arrived(0) + arrived(0))
    verdict = oracle.verdict()
    assert (verdict.lost, verdict.doubled) == (1, 1)


def test_a_changed_text_is_damaged_and_does_not_count_as_delivered() -> None:
    oracle = Oracle({"web-0/stdout": 1})
    oracle.feed(arrived(0).replace(b"GET", b"PUT"))
    verdict = oracle.verdict()
    assert (verdict.damaged, verdict.lost) == (1, 1)


@pytest.mark.parametrize("bad", [b'{"container":"web-0","se', b"\xff\xfe", b"null", b'{"seq":"1"}', b"[]"])
def test_a_damaged_line_leaves_the_others(bad: bytes) -> None:
    oracle = Oracle({"web-0/stdout": 2})
    oracle.feed(arrived(0) + bad + b"\n" + arrived(1))
    verdict = oracle.verdict()
    assert (verdict.damaged, verdict.delivered) == (1, 2)


def test_a_line_that_nobody_wrote_is_unknown() -> None:
    oracle = Oracle({"web-0/stdout": 1})
    oracle.feed(arrived(0) + arrived(1) + arrived(0, container="ghost") + arrived(-1))
    verdict = oracle.verdict()
    assert (verdict.unknown, verdict.delivered, verdict.exactly_once) == (3, 1, False)


def test_a_file_is_read_over_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logflow.testing.oracle._BLOCK_BYTES", 37)
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"".join(arrived(seq) for seq in range(20)) + b'{"torn')
    oracle = Oracle({"web-0/stdout": 20})
    oracle.feed_file(path)
    verdict = oracle.verdict()
    assert (verdict.delivered, verdict.damaged, verdict.disordered) == (20, 1, 0)


def test_latencies_are_kept_when_the_time_of_arrival_is_known() -> None:
    oracle = Oracle({"web-0/stdout": 2})
    oracle.feed(arrived(0), received_ns=1500)
    oracle.feed(arrived(1))
    assert oracle.latencies_ns() == [500]
    assert oracle.latencies_ns(written_before_ns=1001) == [500]
    assert oracle.latencies_ns(written_before_ns=1000) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30))
def test_the_verdict_agrees_with_counting(seqs: list[int]) -> None:
    verdict = judge(*seqs, written=10)
    assert verdict.lost == 10 - len(set(seqs))
    assert verdict.doubled == len(seqs) - len(set(seqs))
    assert verdict.delivered + verdict.lost == verdict.written
    firsts = list(dict.fromkeys(seqs))
    assert verdict.disordered == sum(seq < max(firsts[:place] or [-1]) for place, seq in enumerate(firsts))


def test_percentiles_are_nearest_rank() -> None:
    values = list(range(100, 0, -1))
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7], 0.99) == 7
    assert percentile([], 0.5) == 0
