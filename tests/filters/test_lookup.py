"""The filter ``lookup``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import struct

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.errors import ComponentError
from logflow.filters.lookup import LookupFilter, _identity
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context

HOSTS = "host,team,room\nweb-1,red,7\nweb-2,blue,\n"


class Bench:
    def __init__(self, directory, engine, **options):
        self.clock, self.metrics = FakeClock(), Metrics()
        context = make_context(
            directory, "hosts", kind="filter", engine=engine.name, clock=self.clock, metrics=self.metrics
        )
        self.step = LookupFilter(LookupFilter.Config(**{"key": "host", **options}), context)

    async def __aenter__(self):
        await self.step.open()
        return self

    async def __aexit__(self, *_):
        await self.step.close()

    def send(self, *records):
        batch = self.step.apply(Batch.from_events("app", list(enumerate(records))))
        return [record for _, record in batch.events()]

    def team(self, host="web-1"):
        return self.send({"host": host})[0].get("team")

    async def later(self, seconds=10.0):
        """Time goes on, and what was begun is finished."""
        for _ in range(3):
            await self.clock.advance(seconds)
            for _ in range(15):
                await asyncio.sleep(0.001)

    @property
    def failures(self):
        return sum(cell.value for cell in self.metrics.counters())


@pytest.fixture
def bench(tmp_path, engine):
    return lambda **options: Bench(tmp_path, engine, **options)


@pytest.fixture
def hosts(tmp_path):
    path = tmp_path / "hosts.csv"
    path.write_text(HOSTS)
    return path


async def test_fields_come_from_the_row_of_the_key(bench, hosts):
    async with bench(file=str(hosts), fields={"team": "team", "at.room": "room"}) as it:
        assert it.send(
            {"host": "web-1", "team": "old"}, {"host": "web-2", "at": {"x": 1}}, {"host": "x"}, {}
        ) == [
            {"host": "web-1", "team": "red", "at": {"room": "7"}},
            {"host": "web-2", "at": {"x": 1}, "team": "blue"},
            {"host": "x"},
            {},
        ]
        batch = Batch.from_events("app", [(0, {"host": "x"})])
        assert it.step.apply(batch) is batch


async def test_a_default_is_set_where_the_table_has_nothing(bench, hosts):
    options = {"fields": {"team": "team", "room": "room"}, "default": {"team": "none", "room": 0}}
    async with bench(file=str(hosts), **options) as it:
        assert it.send({"host": "web-2"}, {"host": 5}) == [
            {"host": "web-2", "team": "blue", "room": 0},
            {"host": 5, "team": "none", "room": 0},
        ]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ({"200": {"name": "OK", "of": [{"kind": "good"}]}, "500": {"name": "no"}}, {}),
        (
            [{"code": 200, "name": "OK", "of": [{"kind": "good"}]}, {"code": 500, "name": "no"}, 7],
            {"key_column": "code"},
        ),
    ],
)
async def test_json_is_an_object_of_rows_or_an_array(bench, tmp_path, text, options):
    path = tmp_path / "codes.json"
    path.write_text(json.dumps(text))
    fields = {"status_name": "name", "kind": "of[0].kind"}
    async with bench(file=str(path), key="status", fields=fields, **options) as it:
        assert it.send({"status": 200}, {"status": "500"}) == [
            {"status": 200, "status_name": "OK", "kind": "good"},
            {"status": "500", "status_name": "no"},
        ]


async def test_json_of_plain_values_has_one_column(bench, tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"web-1": "red", "web-2": null}')
    async with bench(file=str(path), fields={"team": "value"}) as it:
        assert [it.team(), it.team("web-2")] == ["red", None]


def pack(value):
    """A value in the way of MaxMind files."""
    if isinstance(value, dict):
        return bytes([0xE0 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())
    if isinstance(value, int):
        return b"\xc4" + struct.pack(">I", value)
    if isinstance(value, list):
        return bytes([len(value), 4]) + b"".join(map(pack, value))
    return bytes([0x40 | len(value.encode())]) + value.encode()


def mmdb(networks):
    """A MaxMind file of IPv4 networks of 8 bits; see https://maxmind.github.io/MaxMind-DB/."""
    data, places = b"", {}
    for first, row in networks.items():
        places[first] = len(data)
        data += pack(row)
    nodes = [[None, None]]
    for first in networks:
        node = 0
        for bit in range(8):
            side = first >> (7 - bit) & 1
            if bit == 7:
                nodes[node][side] = ("data", places[first])
            else:
                if nodes[node][side] is None:
                    nodes.append([None, None])
                    nodes[node][side] = len(nodes) - 1
                node = nodes[node][side]

    def record(one):
        value = len(nodes) if one is None else one if isinstance(one, int) else len(nodes) + 16 + one[1]
        return value.to_bytes(3, "big")

    tree = b"".join(record(left) + record(right) for left, right in nodes)
    meta = {
        "node_count": len(nodes), "record_size": 24, "ip_version": 4, "database_type": "test",
        "languages": [], "binary_format_major_version": 2, "binary_format_minor_version": 0,
        "build_epoch": 1, "description": {},
    }  # fmt: skip
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + pack(meta)


async def test_a_maxmind_file_is_asked_for_the_network_of_an_address(bench, tmp_path):
    pytest.importorskip("maxminddb")
    path = tmp_path / "geo.mmdb"
    path.write_bytes(mmdb({81: {"country": {"iso_code": "GB"}}, 8: {"country": {"iso_code": "US"}}}))
    async with bench(file=str(path), key="ip", fields={"geo.country": "country.iso_code"}) as it:
        found = it.send(
            {"ip": "81.2.69.160"}, {"ip": "8.8.8.8"}, {"ip": "10.0.0.1"}, {"ip": "x"}, {"ip": "::1"}
        )
        assert [record.get("geo", {}).get("country") for record in found] == ["GB", "US", None, None, None]


async def test_a_file_that_changed_and_then_stayed_the_same_is_read_again(bench, hosts, caplog):
    caplog.set_level(logging.INFO)
    async with bench(file=str(hosts), fields={"team": "team"}) as it:
        assert it.team() == "red"
        hosts.write_text(HOSTS.replace("red", "green"))
        await it.clock.advance(10)
        assert it.team() == "red", "it may still be written to"
        await it.later()
        assert it.team() == "green"
        assert "has read" in caplog.text
        assert it.failures == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HOSTS[:-3], "line 3 has 2 columns and not 3"),
        (HOSTS.rstrip(), "may be half written"),
        ("host,squad,room\n", "no column 'team', but host, squad, room"),
        ("", "no column 'team', but none"),
        ('host,team,room\n"web-1', "unexpected end of data"),
        ("\x00\xff", "no column 'team'"),
        (HOSTS + "x" * 200 + ",,\n", "max_bytes"),
        (None, "No such file"),
    ],
)
async def test_of_a_file_that_cannot_be_used_the_old_table_stays(bench, hosts, caplog, text, why):
    async with bench(file=str(hosts), fields={"team": "team"}, max_bytes=200) as it:
        if text is None:
            hosts.unlink()
        else:
            hosts.write_text(text)
        await it.later()
        assert it.team() == "red"
        assert it.failures == 1
        assert caplog.text.count("keeps its old table") == 1
        assert why in caplog.text
        hosts.write_text(HOSTS.replace("red", "green"))
        await it.later()
        assert it.team() == "green"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", None, "No such file"),
        ("a.json", b'{"a": ', "Input data was truncated"),
        ("a.json", b"[" * 100_000, "a.json: "),
        ("a.json", b"[1]", "key_column names"),
        ("a.json", b"7", "neither an object nor an array"),
        ("a.json", b'{"a": {"team": ' + b"[" * 130 + b"]" * 130 + b"}}", "nests deeper"),
        ("a.csv", b"host,team\n\xff,b\n", "utf-8"),
        ("a.mmdb", b"x" * 100, "a.mmdb: "),
    ],
)
async def test_a_file_that_is_none_ends_the_start_in_one_line(bench, tmp_path, name, text, why):
    if name == "a.mmdb":
        pytest.importorskip("maxminddb")
    if text is not None:
        (tmp_path / name).write_bytes(text)
    it = bench(file=str(tmp_path / name), fields={"team": "team"})
    with pytest.raises(ComponentError, match=re.escape(why)) as caught:
        await it.step.open()
    assert "\n" not in str(caught.value)
    await it.step.close()


async def test_without_open_as_in_a_rehearsal_the_file_is_read_when_it_is_needed(bench, hosts):
    assert bench(file=str(hosts), fields={"team": "team"}).team() == "red"


async def test_keys_of_any_size_and_kind_are_looked_up_in_bounded_memory(bench, hosts):
    async with bench(file=str(hosts), fields={"team": "team"}) as it:
        it.send({"host": "x" * 10_000_000}, {"host": 2**64 - 1}, {"host": [None]}, {"host": None})
        for first in range(0, 30_000, 1000):
            it.send(*({"host": n} for n in range(first, first + 1000)))
        assert len(it.step._known._rows) <= 10_000
        assert max(map(len, it.step._known._rows)) < 100


def test_a_file_that_is_replaced_by_renaming_is_another_one(hosts, tmp_path):
    before = _identity(str(hosts))
    other = tmp_path / "new"
    other.write_text(HOSTS)
    os.utime(other, ns=(before[2], before[2]))
    other.replace(hosts)
    assert _identity(str(hosts)) != before


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"file": "hosts.txt"}, "set format: csv, json or mmdb"),
        ({"fields": {}}, "at least 1 item"),
        ({"default": {"x": 1}}, "default sets x, which is not among fields"),
        ({"refresh": 0}, "refresh must be more than 0s"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(options, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        LookupFilter.Config(**{"file": "a.csv", "key": "a", "fields": {"a": "a"}, **options})
