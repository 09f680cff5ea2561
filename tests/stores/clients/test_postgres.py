"""Output ``postgres`` against a real server."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import DeliveryError, LimitExceeded
from logflow.outputs.postgres import PostgresOutput
from logflow.outputs.postgres.rows import CopyRows
from logflow.testing import make_context
from tools.servers.postgres import PASSWORD, PostgresServer

T0 = 1_700_000_000_123_456_789


def chunk(tag: str, *records: dict[str, Any]) -> Chunk:
    batch = Batch.from_events(tag, [(T0, record) for record in records])
    return Chunk(os.urandom(16), tag, (batch.entries,), len(records))


class Bench:
    def __init__(self, server: PostgresServer, directory: Path, **options: Any) -> None:
        self.name = f"logs_{os.urandom(4).hex()}"
        self.port = server.port
        self.options = {
            "address": f"127.0.0.1:{server.port}", "database": "postgres", "password": PASSWORD,
            "table": self.name, "chunk_table": f"{self.name}_chunks", "create_tables": True, **options,
        }  # fmt: skip
        config = PostgresOutput.Config(**self.options)
        self.output = PostgresOutput(config, make_context(directory, kind="output"))

    async def query(self, sql: str) -> list[Any]:
        import asyncpg

        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, database="postgres", user="postgres", password=PASSWORD
        )
        try:
            return await connection.fetch(sql.format(table=self.name))
        finally:
            await connection.close()


@pytest.fixture
async def bench(postgres: PostgresServer, tmp_path: Path):
    bench = Bench(postgres, tmp_path, columns={"status": "status", "host": "f'{kubernetes.host}'"})
    await bench.output.open()
    yield bench
    await bench.output.close()


AWKWARD = {"m": 'a\tb\nc\\d"e\0f\r\u2028ü\\u0000', "empty": {}, "n": [1, None, 1.5], "\0time": "mine"}


async def test_events_are_rows(bench: Bench) -> None:
    """Also those whose text has everything that COPY, JSON and PostgreSQL treat in a way of their own."""
    records = [{"status": 200, "kubernetes": {"host": "a\tb"}}, {}, {"m": AWKWARD["m"]}]
    assert await bench.output.write_group([chunk("app.a\tb", *records), chunk("app", {"n": 1})]) == [
        None,
        None,
    ]
    rows = await bench.query("SELECT * FROM {table}")
    assert [json.loads(row["record"]) for row in rows] == [
        records[0], {}, {"m": "a\tb\nc\\d\"e\ufffdf\r\u2028ü\\u0000"}, {"n": 1},
    ]  # fmt: skip
    assert [row["tag"] for row in rows] == ["app.a\tb"] * 3 + ["app"]
    assert rows[0]["time"].isoformat() == "2023-11-14T22:13:20.123457+00:00"
    assert [row["status"] for row in rows] == ["200", None, None, None]
    assert rows[0]["host"] == "a\tb"


@pytest.mark.parametrize("engine", ["native", "python"])
def test_no_record_can_take_the_place_of_the_time(tmp_path: Path, engine: str) -> None:
    """The key under which the time is asked for cannot be foreseen; keys that look odd stay in the record."""
    records = [{"\x7ftime": "mine", "@timestamp": "x"}, {"": 1}]
    rows = CopyRows([], make_context(tmp_path, engine=engine), record=True)
    lines = b"".join(rows.of([chunk("app", *records)])).decode().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["2023-11-14T22:13:20.123456789Z"] * 2
    assert [json.loads(line.split("\t")[2]) for line in lines] == records


async def test_a_chunk_that_comes_again_is_there_once(bench: Bench) -> None:
    first, second = chunk("app", {"n": 1}), chunk("app", {"n": 2})
    await bench.output.write(first)
    assert await bench.output.write_group([first, second]) == [None, None]
    rows = await bench.query("SELECT record FROM {table}")
    assert [json.loads(row["record"])["n"] for row in rows] == [1, 2]


async def test_attempts_at_the_same_time_store_once(bench: Bench) -> None:
    """The one that comes second waits for the end of the first."""
    chunks = [chunk("app", {"n": number}) for number in range(20)]
    await asyncio.gather(*(bench.output.write_group(chunks[i:] + chunks[:i]) for i in range(4)))
    assert len(await bench.query("SELECT FROM {table}")) == 20


async def test_an_event_that_a_column_refuses_is_told_apart(postgres: PostgresServer, tmp_path: Path) -> None:
    """Other chunks are stored; this one is halved by the host until the event is alone."""
    bench = Bench(postgres, tmp_path, columns={"status": "status"})
    await bench.query("CREATE TABLE {table} (time timestamptz, tag text, record jsonb, status int)")
    await bench.output.open()
    bad = chunk("app", {"status": 1}, {"status": "secret"})
    answers = await bench.output.write_group([chunk("app", {"status": 2}), bad])
    assert answers[0] is None
    assert isinstance(answers[1], LimitExceeded)
    assert "COPY" in str(answers[1])
    assert "line 2, column status" in str(answers[1])
    assert [row["status"] for row in await bench.query("SELECT status FROM {table}")] == [2]
    await bench.output.close()


async def test_times_out_of_range_are_held_within_it(bench: Bench) -> None:
    batch = Batch.from_events("app", [(time, {"n": 1}) for time in (-62_135_596_800 * 10**9, 0, 2**75)])
    await bench.output.write(Chunk(os.urandom(16), "app", (batch.entries,), batch.count))
    rows = await bench.query("SELECT time FROM {table} ORDER BY time")
    assert [row["time"].year for row in rows] == [1970, 1970, 2106]


async def test_a_missing_table_is_held_and_said(postgres: PostgresServer, tmp_path: Path) -> None:
    bench = Bench(postgres, tmp_path, create_tables=False)
    with pytest.raises(DeliveryError, match=r"does not exist in the database postgres .*; set create_tables"):
        await bench.output.open()
    await bench.output.close()


async def test_a_table_that_goes_away_is_held_and_said(bench: Bench) -> None:
    await bench.query("DROP TABLE {table}")
    with pytest.raises(DeliveryError, match="set create_tables: true, or run: CREATE TABLE"):
        await bench.output.write(chunk("app", {"n": 1}))


@pytest.mark.parametrize(
    ("options", "told"),
    [({"password": "wrong"}, "refuses postgres"), ({"database": "nowhere"}, '"nowhere" does not exist'),
     ({"address": "127.0.0.1:9"}, "did not take events")],
)  # fmt: skip
async def test_what_cannot_be_connected_to_is_held_and_said(
    postgres: PostgresServer, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    bench = Bench(postgres, tmp_path, **options)
    with pytest.raises(DeliveryError, match=told) as caught:
        await bench.output.open()
    assert "wrong" not in str(caught.value)


@pytest.mark.slow
async def test_connections_that_are_cut_lose_and_double_nothing(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Whenever it happens: before, within or after the transaction."""
    bench = Bench(postgres, tmp_path)
    await bench.output.open()
    chunks = [chunk("app", *({"n": number} for _ in range(50))) for number in range(40)]
    done = asyncio.Event()

    async def cut() -> None:
        while not done.is_set():
            await bench.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'logflow'"
            )
            await asyncio.sleep(0.05)

    cutting = asyncio.create_task(cut())
    cuts = 0
    for one in chunks:
        for _ in range(200):
            try:
                await bench.output.write(one)
                break
            except DeliveryError as error:
                cuts += 1
                last = error
        else:
            raise AssertionError(f"never: {last}")
    done.set()
    await cutting
    assert cuts
    (row,) = await bench.query("SELECT count(*) AS rows, count(DISTINCT record) AS numbers FROM {table}")
    assert (row["rows"], row["numbers"]) == (2000, 40)
    await bench.output.close()


@pytest.mark.parametrize(
    "options",
    [{"table": "a.b.c"}, {"table": 'a"b'}, {"time_column": "tag"}, {"columns": {'a"': "b"}},
     {"tls": {"server_name": "db"}}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PostgresOutput.Config(address="db:5432", database="logs", **options)
