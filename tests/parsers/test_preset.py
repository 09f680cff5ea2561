"""Formats that are known by name, against lines as the programs write them."""

# Lines are as they are.
# ruff: noqa: E501, ISC004

from __future__ import annotations

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.formats import FORMATS
from logflow.parsers.preset import PresetParser
from logflow.testing import FakeClock, build_parser, make_context
from logflow.timestamps import TimeFormat

NOW_NS = 1_772_359_200_000_000_000  # 2026-03-01T10:00:00Z

LINES = [
    ("syslog", "Mar  1 09:59:58 web-1 sshd[812]: Accepted publickey for root",
     "2026-03-01T09:59:58", {"host": "web-1", "ident": "sshd", "pid": "812", "message": "Accepted publickey for root"}),
    ("syslog", "<34>Dec 31 23:59:59 mymachine su: 'su root' failed",
     "2025-12-31T23:59:59", {"pri": 34, "host": "mymachine", "ident": "su", "message": "'su root' failed"}),
    ("syslog", "<13>Mar  1 09:59:58 root: from a socket of this host",
     "2026-03-01T09:59:58", {"pri": 13, "ident": "root", "message": "from a socket of this host"}),
    ("syslog", "Mar  1 09:59:58 web-1 app[12] as rsyslog forwards RFC 5424",
     "2026-03-01T09:59:58", {"host": "web-1", "ident": "app", "pid": "12", "message": "as rsyslog forwards RFC 5424"}),
    ("syslog", "Mar  1 09:59:58 web-1 last message repeated 2 times",
     "2026-03-01T09:59:58", {"host": "web-1", "message": "last message repeated 2 times"}),
    ("syslog_iso", "2026-03-01T09:59:58.123456+01:00 web-1 kernel: [    1.0] eth0: up",
     "2026-03-01T08:59:58.123456", {"host": "web-1", "ident": "kernel", "message": "[    1.0] eth0: up"}),
    ("rfc5424", '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [a@1 b="c d"] \ufeffAn event',
     "2003-10-11T22:14:15.003", {"pri": 165, "host": "mymachine.example.com", "ident": "evntslog", "msgid": "ID47",
                                 "structured_data": '[a@1 b="c d"]', "message": "An event"}),
    ("rfc5424", "<0>1 - - - - - -", None, {"pri": 0, "ident": "-", "message": ""}),
    ("klog", "I0228 22:38:42.337461    1234 controller.go:123] \"Synced\" item=1",
     "2026-02-28T22:38:42.337461", {"severity": "I", "pid": 1234, "source": "controller.go:123",
                                    "message": '"Synced" item=1'}),
    ("apache", '192.0.2.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326',
     "2000-10-10T20:55:36", {"host": "192.0.2.1", "ident": "-", "user": "frank", "method": "GET", "path": "/a.gif",
                             "protocol": "HTTP/1.0", "code": 200, "size": 2326}),
    ("apache", '192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] "\\x16\\x03" 400 - "-" "a \\"b\\""',
     "2000-10-10T13:55:36", {"host": "192.0.2.1", "ident": "-", "user": "-", "request": "\\x16\\x03", "code": 400,
                             "size": "-", "referer": "-", "agent": 'a \\"b\\"'}),
    ("apache_error", "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] "
     "[client 192.0.2.9:1] File does not exist: /x",
     "2011-09-09T10:42:29.902022", {"module": "core", "level": "error", "pid": 35708, "tid": 4328636416,
                                    "client": "192.0.2.9:1", "message": "File does not exist: /x"}),
    ("nginx", '192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET /?q=1 HTTP/2.0" 200 612 "-" "curl/8.5"',
     "2026-03-01T10:00:00", {"host": "192.0.2.1", "ident": "-", "user": "-", "method": "GET", "path": "/?q=1",
                             "protocol": "HTTP/2.0", "code": 200, "size": 612, "referer": "-", "agent": "curl/8.5"}),
    ("nginx_error", '2026/03/01 10:00:00 [error] 29#30: *7 open() "/x" failed (2: No such file or directory)',
     "2026-03-01T10:00:00", {"level": "error", "pid": 29, "tid": 30, "connection": 7,
                             "message": 'open() "/x" failed (2: No such file or directory)'}),
    ("envoy", '[2026-03-01T10:00:00.310Z] "POST /api HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "client/1" '
     '"cc21d9b0" "locations" "tcp://10.0.2.1:80"',
     "2026-03-01T10:00:00.310", {"method": "POST", "path": "/api", "protocol": "HTTP/2", "code": 204, "flags": "-",
                                 "bytes_received": 154, "bytes_sent": 0, "duration_ms": 226, "upstream_ms": 100,
                                 "forwarded_for": "10.0.35.28", "agent": "client/1", "request_id": "cc21d9b0",
                                 "authority": "locations", "upstream": "tcp://10.0.2.1:80"}),
    ("haproxy", 'haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 '
     '- - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"',
     "2009-02-06T12:14:14.655", {"process": "haproxy", "pid": 14389, "client": "10.0.1.2", "client_port": 33317,
                                 "frontend": "http-in", "backend": "static", "server": "srv1", "request_ms": 10,
                                 "queue_ms": 0, "connect_ms": 30, "response_ms": 69, "total_ms": 109, "code": 200,
                                 "size": 2750, "request_cookie": "-", "response_cookie": "-", "termination": "----",
                                 "connections": "1/1/1/1/0", "queues": "0/0", "headers": "{1wt.eu} {}",
                                 "method": "GET", "path": "/index.html", "protocol": "HTTP/1.1"}),
    ("postgres", '2026-03-01 10:00:00.123 UTC [42] app@shop ERROR:  relation "x" does not exist',
     "2026-03-01T10:00:00.123", {"pid": 42, "user": "app", "database": "shop", "level": "ERROR",
                                 "message": 'relation "x" does not exist'}),
    ("redis", "1:M 01 Mar 2026 10:00:00.123 * Ready to accept connections",
     "2026-03-01T10:00:00.123", {"pid": 1, "role": "M", "level": "*", "message": "Ready to accept connections"}),
    ("mongodb", '{"t":{"$date":"2026-03-01T10:00:00.123+00:00"},"s":"I",  "c":"NETWORK",  "id":23016,   "ctx":"listener",'
     '"msg":"Waiting for connections","attr":{"port":27017}}',
     "2026-03-01T10:00:00.123", {"severity": "I", "component": "NETWORK", "id": 23016, "context": "listener",
                                 "message": "Waiting for connections", "attr": '{"port":27017}'}),
    ("java", "2026-03-01T10:00:00.123Z  INFO 1 --- [main] c.e.Application : Started in 2 s",
     "2026-03-01T10:00:00.123", {"level": "INFO", "pid": 1, "task": "main", "logger": "c.e.Application", "message": "Started in 2 s"}),
    ("java", "2026-03-01 10:00:00,123 [http-1] ERROR com.example.Shop - cannot pay",
     "2026-03-01T10:00:00.123", {"thread": "http-1", "level": "ERROR", "logger": "com.example.Shop",
                                 "message": "cannot pay"}),
]  # fmt: skip


def parser(tmp_path, name, engine="python"):
    context = make_context(tmp_path, engine=engine, clock=FakeClock(NOW_NS))
    return build_parser(context, "preset", name=name)


@pytest.mark.parametrize(("name", "line", "time", "fields"), LINES)
def test_lines_become_fields(tmp_path, name, line, time, fields):
    found, record = parser(tmp_path, name).parse(line.encode())
    assert record == fields
    assert found == TimeFormat("iso8601")(time)


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, line, _, _ in LINES])
def test_both_engines_agree(tmp_path, engine, name, line):
    """Times without a year are left to the machine's clock, which both have."""
    records = [{"message": text} for text in (line, line[:-3], line[1:], f"x{line}", "")]
    batch = Batch.from_events("app", [(7, record) for record in records])
    results = []
    for name_of_engine in ("python", engine.name):
        context = make_context(tmp_path, engine=name_of_engine)
        fields = context.engine.field_parser(build_parser(context, "preset", name=name), "message")
        results.append(fields.apply(batch.entries))
    assert results[0] == results[1]


def test_no_pattern_is_left_to_the_slow_engine(tmp_path, engine):
    for name in FORMATS:
        build_parser(make_context(tmp_path, engine=engine.name), "preset", name=name).native()


def test_every_format_has_a_line():
    assert {name for name, *_ in LINES} == FORMATS.keys()


def test_another_name_is_refused_with_those_that_there_are():
    with pytest.raises(ValidationError, match=r"there is no preset 'ngnix'; there are syslog, .*nginx"):
        PresetParser.Config(name="ngnix")
