"""Bodies of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from logflow.compression import decompress
from logflow.errors import LogflowError
from logflow.net.complaints import Complaints
from logflow.net.http_server import Events
from logflow.net.http_server.handler import RequestHandler
from logflow.net.http_server.otlp import read_json, read_protobuf
from logflow.net.tags import Tags
from logflow.packing import unpack_entries
from logflow.protobuf import delimited, fields, integer
from logflow.registry import load
from logflow.snappy import pack_literals, unpack
from logflow.sources.elasticsearch_bulk import _Items
from logflow.sources.http.bodies import BodyReader
from logflow.sources.loki_push import _read_json as read_push
from logflow.sources.splunk_hec import _lines
from tools.fuzz.targets.base import Target, context, engines

_LIMIT = 1 << 20


@cache
def _handler(name: str, engine: str) -> RequestHandler:
    component, made = load("source", name), context(engine)
    source: Any = component(component.Config(type=name), made)
    handler: RequestHandler = source.handler(Complaints(made), Tags(1000, made))
    return handler


def _take(read: Callable[[Events], Iterator[None]]) -> list[tuple[str, bytes]] | None:
    """Read a body; what it holds can be unpacked again."""
    events = Events(_LIMIT)
    try:
        for _ in read(events):
            pass
        batches = events.batches()
    except LogflowError:
        return None
    for batch in batches:
        assert len(list(unpack_entries(batch.entries))) == batch.count
    return [(batch.tag, batch.entries) for batch in batches]


def _same(read: Callable[[str, Events], Iterator[None]]) -> None:
    """Both engines find the same."""
    found = [_take(lambda events, engine=engine: read(engine, events)) for engine in engines()]  # type: ignore[misc]
    assert found[0] == found[-1]


def _bodies(kind: str) -> Callable[[bytes], None]:
    def read(engine: str, body: bytes, events: Events) -> Iterator[None]:
        made = context(engine)
        parser = made.parser(load("parser", "json").Config(type="json"))
        for piece in BodyReader(made, parser, _LIMIT).read(body, kind, 1):
            events.add_packed("t", piece.entries, piece.events)
            yield

    return lambda body: _same(lambda engine, events: read(engine, body, events))


def _bulk(body: bytes) -> None:
    handler = _handler("elasticsearch_bulk", "auto")
    _take(lambda events: handler._read(body, "i", _Items(), events))  # type: ignore[attr-defined]  # noqa: SLF001


def _loki(body: bytes) -> None:
    handler = _handler("loki_push", "auto")
    for read in (read_push, handler._read_protobuf):  # type: ignore[attr-defined]  # noqa: SLF001
        _take(lambda events, read=read: handler._read(read, body, events))  # type: ignore[attr-defined,misc]  # noqa: SLF001


def _otlp(body: bytes) -> None:
    handler = _handler("otlp", "auto")
    for read in (read_json, read_protobuf):
        _take(lambda events, read=read: handler._reader.read(read, body, events))  # type: ignore[attr-defined,misc]  # noqa: SLF001


def _splunk(body: bytes) -> None:
    handler = _handler("splunk_hec", "auto")
    for texts in (handler._objects, _lines):  # type: ignore[attr-defined]  # noqa: SLF001
        _take(lambda events, texts=texts: handler._read(texts(body), {"host": "h"}, events))  # type: ignore[attr-defined,misc]  # noqa: SLF001


def _packed(data: bytes) -> None:
    """Snappy, protocol buffers, and compressed data."""
    try:
        found = unpack(data, _LIMIT)
        assert len(found) <= _LIMIT
        assert unpack(pack_literals(found), _LIMIT) == found
    except LogflowError:
        pass
    try:
        for _, value in fields(memoryview(data)):
            assert isinstance(value, int) or len(value) <= len(data)
    except LogflowError:
        pass
    for how in ("gzip", "zstd", "deflate"):
        with suppress(LogflowError):
            assert len(decompress(data, how, _LIMIT)) <= _LIMIT


_LIST = delimited(5, delimited(1, b"\x18\x01") + delimited(1, b"\x0a\x01x"))
_PAIR = delimited(1, b"k") + delimited(2, _LIST)
_LOG = b"\x09" + (1 << 60).to_bytes(8, "little") + integer(2, 9) + delimited(5, delimited(1, b"m"))
_SCOPE = delimited(2, delimited(2, _LOG + delimited(6, _PAIR)))
_EXPORT = delimited(1, delimited(1, delimited(1, _PAIR)) + _SCOPE)
_EXPORT_JSON = (
    b'{"resourceLogs":[{"resource":{"attributes":[{"key":"a","value":{"intValue":"1"}}]},"scopeLogs":[{"scope":'
    b'{"name":"s"},"logRecords":[{"timeUnixNano":"1","body":{"kvlistValue":{"values":[]}}}]}]}]}'
)
_ENTRY = delimited(1, integer(1, 5) + integer(2, 7)) + delimited(2, b'{"a":1}')
_PUSH = delimited(
    1, delimited(1, b'{a="x", b=`y`}') + delimited(2, _ENTRY + delimited(3, delimited(1, b"m")))
)
_HEC = b'{"time":1.5,"event":{"a":1},"fields":{"b":"c"}}{"event":"x","host":"y"}'
_BULK = b'{"create":{"_index":"a","_id":"1"}}\n{"@timestamp":"2026-01-31T12:00:00Z"}\n'

TARGETS = (
    Target(
        "http-json", _bodies("application/json"), [b'{"a":1}\n{"b":[1,{"c":null}]}', b'[{"a":1},\n{"b":2.5}]']
    ),
    Target("http-msgpack", _bodies("application/msgpack"), [b"\x81\xa1a\x01\x80", b"\x92\x01\x81\xa1a\xc3"]),
    Target("bulk", _bulk, [_BULK]),
    Target(
        "loki", _loki,
        [pack_literals(_PUSH), b'{"streams":[{"stream":{"a":"x"},"values":[["1","{}",{"m":"y"}]]}]}'],
    ),
    Target("otlp", _otlp, [_EXPORT, _EXPORT_JSON]),
    Target("splunk", _splunk, [_HEC, b"a\nb\r\n"]),
    Target("packed", _packed, [pack_literals(b"abc"), b"\x0a\x10abc\x15\x03", _EXPORT]),
)  # fmt: skip
