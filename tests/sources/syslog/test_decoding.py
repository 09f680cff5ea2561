"""Messages to records."""

from __future__ import annotations

import pytest

from logflow.packing import unpack_entries
from logflow.sources.syslog.decoding import Decoder, parse_structured_data
from logflow.testing import make_context
from logflow.timestamps import TimeFormat

NOW_NS = 1_700_000_000_000_000_000


@pytest.fixture
def decode(tmp_path, engine):
    decoder = Decoder(make_context(tmp_path, engine=engine.name), "UTC", 64 << 10)

    def decode(*messages):
        entries, decode.unparsed = decoder.decode(messages, NOW_NS)
        return list(unpack_entries(entries))

    return decode


def test_rfc5424(decode):
    message = b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 ID47 "
    message += b'[x@1 a="b" a="c"][y n="\\]\\""] %% It\'s'
    ((time, record),) = decode(message + b"\n")
    assert time == TimeFormat("iso8601")("2003-08-24T12:14:15.000003Z")
    assert record == {
        "host": "192.0.2.1", "ident": "myproc", "pid": "8710", "msgid": "ID47",
        "structured_data": {"x@1": {"a": ["b", "c"]}, "y": {"n": ']"'}}, "message": "%% It's",
        "facility": "local4", "severity": "notice",
    }  # fmt: skip
    assert decode.unparsed == 0


def test_what_is_not_there_becomes_no_field(decode):
    ((time, record),) = decode(b"<0>1 - - app - - -")
    assert (time, record) == (
        NOW_NS, {"ident": "app", "message": "", "facility": "kern", "severity": "emerg"},
    )  # fmt: skip


def test_rfc3164_with_a_host_and_as_programs_write_it_to_a_socket(decode):
    first, second = decode(
        b"<34>Oct 11 22:14:15 box su[9]: 'su root' failed", b"<13>Oct  1 02:04:05 root: x\ny\0"
    )
    assert first[1] == {
        "host": "box", "ident": "su", "pid": "9", "message": "'su root' failed", "facility": "auth",
        "severity": "crit",
    }  # fmt: skip
    assert second[1] == {"ident": "root", "message": "x\ny", "facility": "user", "severity": "notice"}
    assert first[0] % 86_400_000_000_000 == 80_055_000_000_000


def test_an_iso_time_and_none_at_all(decode):
    first, second, third = decode(
        b"<30>2026-03-01T10:00:00.5Z box app: x", b"<30>no time: y", b"caf\xe9 without a priority"
    )
    assert first[0] == TimeFormat("iso8601")("2026-03-01T10:00:00.5Z")
    assert second[1] == {"message": "no time: y", "facility": "daemon", "severity": "info"}
    assert third[1] == {"message": "caf\\xe9 without a priority"}
    assert decode.unparsed == 1


@pytest.mark.parametrize("priority", [b"192", b"999"])
def test_a_priority_that_there_is_not_names_nothing(decode, priority):
    ((_, record),) = decode(b"<" + priority + b">Oct 11 22:14:15 box app: x")
    assert record == {"host": "box", "ident": "app", "message": "x"}


def test_a_date_of_another_century_is_kept_as_it_is_written(decode):
    ((time, record),) = decode(b"<13>1 1803-10-11T22:14:15Z box app - - - x")
    assert (time, record["time"]) == (NOW_NS, "1803-10-11T22:14:15Z")


def test_many_kinds_keep_their_order(decode):
    messages = [
        b"<13>1 - - a - - - 0",
        b'<13>1 - - a - - [x b="c"] 1',
        b"2",
        b"<13>3",
        b"<13>1 - - a - - - 4",
    ]
    assert [record["message"] for _, record in decode(*messages)] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("text", ["[", "[]", '[a b="c]', "[a]x", '[a b="c" ]', "[a b=c] x"])
def test_structured_data_that_are_none_stay_text(decode, text):
    assert parse_structured_data(text) is None
    ((_, record),) = decode(b"<13>1 - - a - - " + text.encode())
    assert record["structured_data"] == text
