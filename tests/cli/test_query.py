"""logflow query: SQL over what outputs wrote."""

from __future__ import annotations

import gzip
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from logflow.cli import query
from logflow.cli.main import main

needs_duckdb = pytest.mark.skipif(find_spec("duckdb") is None, reason="needs the extra query")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Files as the output `file` writes them: plain, gzip, zstd of several frames."""
    directory = tmp_path / "archive"
    directory.mkdir()
    head = '{"@timestamp":"2023-11-14T22:13:20.000000000Z","@tag":"app",'
    (directory / "a.jsonl").write_text(f'{head}"n":1}}\n{head}"n":2,"level":"error"}}\n')
    (directory / "b.jsonl.gz").write_bytes(gzip.compress(f'{head}"n":3}}\n'.encode()))
    frames = [zstandard.compress(f'{head}"n":{n}}}\n'.encode()) for n in (4, 5)]
    (directory / "it's.jsonl.zst").write_bytes(b"".join(frames))
    (directory / "empty.jsonl").write_bytes(b"")
    return directory


@needs_duckdb
def test_compressed_files_are_read_like_others(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = 'SELECT sum(n)::int AS n, min("@timestamp")::text AS first FROM logs WHERE "@tag" = \'app\''
    assert main(["query", sql, str(archive), "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 15


@needs_duckdb
def test_parquet_is_read_with_json_lines(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import duckdb

    duckdb.sql("SELECT 6 AS n, TIMESTAMPTZ '2023-11-14 22:13:20Z' AS \"@timestamp\"").write_parquet(
        str(archive / "c.parquet")
    )
    assert main(["query", "SELECT count(*), sum(n)::int FROM logs", str(archive), "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "6,21"


@needs_duckdb
def test_the_outputs_of_a_configuration_are_asked(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data_dir: {tmp_path}\nsources: {{a: {{type: stdin, tag: a}}}}\n"
        "routes: [{match: '**', outputs: [archive]}]\n"
        f"outputs: {{archive: {{type: file, path: '{archive}/{{tag}}/%Y.jsonl'}}}}\n"
    )
    assert main(["query", "SELECT n FROM logs WHERE level = 'error'", "-c", str(config)]) == 0
    assert capsys.readouterr().out.split() == ["n", "-", "2"]


@needs_duckdb
def test_a_field_of_several_types_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"n":1}'] * 30_000 + ['{"n":"two"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert main(["query", "SELECT count(*) AS c FROM logs", str(tmp_path), "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out) == {"c": 30_001}


@needs_duckdb
@pytest.mark.parametrize(
    ("sql", "told"), [("SELEC", "Parser Error"), ("SELECT nothing FROM logs", 'column "nothing" not found')]
)
def test_mistakes_are_said_in_one_line(
    archive: Path, capsys: pytest.CaptureFixture[str], sql: str, told: str
) -> None:
    assert main(["query", sql, str(archive)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told.lower() in line.lower()


@needs_duckdb
def test_a_cell_tells_a_terminal_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"m": "\x1b[2Jx\ny"}) + "\n")
    assert main(["query", "SELECT m FROM logs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[2] == r"\x1b[2Jx\ny"


def test_a_missing_library_is_said(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["query", "SELECT 1", str(archive)]) == 1
    assert "pip install 'logflow-pipeline[query]'" in capsys.readouterr().err


def test_nothing_to_ask_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "SELECT 1"]) in (1, 2)
    assert capsys.readouterr().err.startswith("logflow")


@needs_duckdb
@pytest.mark.parametrize(
    ("first", "late", "sql", "expected"),
    [
        ("1", "1.5", "sum(n)", 200_001.5), ("{\"a\": 1}", "{\"a\": 1.5}", "sum(n.a)", 200_001.5),
        ("[1]", "[1.5]", "sum(n[1])", 200_001.5), ("true", "7", "count(*) FILTER (n = '7')", 1),
        ('"2026-01-01"', '"2026-01-01T05:00:00Z"', "hour(max(n::TIMESTAMP))", 5),
    ],
)  # fmt: skip
def test_a_value_that_comes_late_is_neither_rounded_nor_turned_into_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str, late: str, sql: str, expected: float
) -> None:
    lines = [f'{{"n":{first},"pad":"........"}}\n'] * 200_000 + [f'{{"n":{late}}}\n']
    (tmp_path / "a.jsonl").write_text("".join(lines))
    assert main(["query", f"SELECT {sql} AS x FROM logs", str(tmp_path), "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["x"] == expected


@needs_duckdb
def test_a_field_that_comes_late_in_its_file_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logflow.cli.tables._MOST_HEAD_BYTES", 100)
    (tmp_path / "a.jsonl").write_text('{"n":1}\n' * 100 + '{"late":2}\n')
    assert main(["query", "SELECT sum(late)::int AS s FROM logs", str(tmp_path), "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["s", "2"]


@needs_duckdb
def test_files_in_the_making_are_left_out(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (archive / ".d.parquet.part").write_bytes(b"PAR1half")
    assert main(["query", "SELECT count(*) FROM logs", str(archive), "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "5"


def test_every_object_of_a_bucket_is_fetched_into_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = {f"o{number}": b"%d" % number for number in range(5)}
    pages = [[{"path": "o0"}, {"path": "o1"}], [{"path": "o2"}, {"path": "o3"}], [{"path": "o4"}]]
    library = SimpleNamespace(
        list=lambda store, prefix: iter(pages), get=lambda store, path: [bodies[path]],
        S3Store=lambda bucket: None, BaseError=ValueError,
    )  # fmt: skip
    monkeypatch.setattr("logflow.extras.load", lambda *_: library)
    files = [*query._fetched({"bucket": "logs"}, "", tmp_path)]
    assert [path.read_bytes() for path in files] == [*bodies.values()]


@needs_duckdb
def test_files_of_a_directory_that_are_no_logs_are_left_out_and_named(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = archive / "data"
    data_dir.mkdir()
    (data_dir / "checkpoints").write_bytes(b"LFCK\0\1")
    (data_dir / "columns.json").write_text('{"n": "int"}')
    assert main(["query", "SELECT count(*) AS n FROM logs", str(archive), "--format", "csv"]) == 0
    told = capsys.readouterr()
    assert told.out == "n\n5\n"
    assert told.err == (
        f"logflow query: 2 files in {archive} left out, such as checkpoints: what ends in none of .jsonl, "
        ".ndjson, .log, .parquet is read if it is named itself\n"
    )


@needs_duckdb
def test_what_an_output_wrote_is_read_whatever_its_suffix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "app.txt.gz").write_bytes(gzip.compress(b'{"n":1}\n'))
    (tmp_path / "logs" / "stray.md").write_text("# not a log")
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data_dir: {tmp_path}/data\nsources: {{a: {{type: stdin, tag: a}}}}\n"
        "routes: [{match: '**', outputs: [archive]}]\n"
        f"outputs: {{archive: {{type: file, path: '{tmp_path}/logs/{{tag}}.txt', compress: gzip}}}}\n"
    )
    assert main(["query", "-c", str(config), "SELECT n FROM logs", "--format", "csv"]) == 0
    told = capsys.readouterr()
    assert told.out == "n\n1\n"
    assert "1 file in" in told.err
