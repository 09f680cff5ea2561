"""The encoders that outputs share."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.batch import Batch
from logflow.encoders import CONTENT_TYPES, Format, TextOptions, encoder, text_of
from logflow.engine import load_engine
from logflow.event import EventTime

T0 = 1_700_000_000_000_000_000
STAMP = "2023-11-14T22:13:20.000000000Z"


def render(engine, *records, **options):
    config = TextOptions(type="test", **options)
    batch = Batch.from_events("app", [(T0, record) for record in records])
    return b"".join(config.encoder(engine)([batch.entries], "app"))


def test_ndjson_has_time_and_tag_first_unless_told_otherwise(engine):
    head = f'"@timestamp":"{STAMP}","@tag":"app",'
    assert render(engine, {"n": 1}) == f'{{{head}"n":1}}\n'.encode()
    assert render(engine, {"n": 1}, time_key="t", tag_key=None) == f'{{"t":"{STAMP}","n":1}}\n'.encode()


def test_json_is_one_array(engine):
    text = render(engine, {"n": 1}, {"m": "a\nb"}, format="json", time_key=None, tag_key=None)
    assert json.loads(text) == [{"n": 1}, {"m": "a\nb"}]


def test_raw_is_the_message_alone_and_nothing_is_lost(engine):
    records = [{"message": "é"}, {"message": b"\xff"}, {"n": 1}, {"message": None}, {"message": [1, "a"]}]
    assert render(engine, *records, format="raw").decode() == (
        'é\n\\xff\n{"n":1}\n{"message":null}\n[1,"a"]\n'
    )
    assert render(engine, {"log": "x"}, format="raw", message_key="log") == b"x\n"


@pytest.mark.parametrize("name", ["raw", "ltsv"])
def test_no_terminal_escapes_pass_through(engine, name):
    text = render(engine, {"message": "a\x1b[2Jb\x07\x9b0m\x7f\tc"}, format=name, time_key=None, tag_key=None)
    assert not set(text.decode()) & set(map(chr, [*range(9), *range(11, 32), *range(0x7F, 0xA0)]))
    assert b"a\\x1b[2Jb\\x07\\x9b0m\\x7f" in text


def test_ltsv_escapes_what_would_break_it(engine):
    record = {"a": "x\ty\nz\\", "b:c": 1}
    assert render(engine, record, format="ltsv").decode() == (
        f"@timestamp:{STAMP}\t@tag:app\ta:x\\ty\\nz\\\\\tb_c:1\n"
    )


def test_a_record_keeps_its_own_time_and_tag(engine):
    record = {"a": 1, "@tag": "own", "@timestamp": "mine"}
    assert render(engine, record, format="ltsv") == b"a:1\t@tag:own\t@timestamp:mine\n"
    columns = ["@timestamp", "@tag"]
    assert render(engine, record, format="csv", columns=columns) == b"mine,own\n"
    assert render(engine, record) == b'{"a":1,"@tag":"own","@timestamp":"mine"}\n'


def test_csv_has_the_chosen_columns(engine):
    records = [{"a": 'say "hi"', "b": "x,y"}, {"b": {"c": [1]}}]
    text = render(engine, *records, format="csv", columns=["@timestamp", "b", "a"]).decode()
    assert list(csv.reader(io.StringIO(text))) == [[STAMP, "x,y", 'say "hi"'], [STAMP, '{"c":[1]}', ""]]


def test_msgpack_is_the_entries_as_they_are(engine):
    batch = Batch.from_events("app", [(T0, {"n": 1})])
    slices = list(encoder("msgpack", engine)([batch.entries], "app"))
    assert len(slices) == 1
    assert slices[0] is batch.entries


@given(
    sizes=st.lists(st.sampled_from([1, 1, 100, 400]), min_size=1, max_size=9),
    name=st.sampled_from(sorted(CONTENT_TYPES)),
)
@settings(max_examples=60, deadline=None)
def test_slices_together_are_the_text_of_all_entries(sizes, name):
    """However the chunk's entries are spread over its parts, small and large."""
    engine, numbers = load_engine(), iter(range(sum(sizes)))
    parts = [
        Batch.from_events(
            "app", [(T0, {"message": "x" * 900, "n": next(numbers)}) for _ in range(size)]
        ).entries
        for size in sizes
    ]
    columns = ["n", "message"] if name == "csv" else []
    encode = encoder(name, engine, columns=columns)
    slices = list(encode(parts, "app"))
    assert b"".join(slices) == b"".join(encode([b"".join(parts)], "app"))
    if name == "json":
        assert [event["n"] for event in json.loads(b"".join(slices))] == list(range(sum(sizes)))


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\ud800", "a\\ud800"), (None, ""), (True, "true"), (1.5, "1.5"), ({"a": [None]}, '{"a":[null]}'),
     (EventTime(T0), STAMP), ({(1, 2): 3}, None), ({b"k": 1}, None),
     (msgspec.msgpack.Ext(5, b"x"), "eA=="), ({"a": msgspec.msgpack.Ext(5, b"x")}, '{"a":"eA=="}')],
)  # fmt: skip
def test_text_of_a_field(value, text):
    assert text is None or text_of(value) == text
    assert "\n" not in text_of(value)


def test_every_format_has_a_content_type():
    assert CONTENT_TYPES.keys() == set(Format.__args__)
