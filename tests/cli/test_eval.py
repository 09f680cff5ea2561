"""``logflow eval``: an expression tried on records."""

from __future__ import annotations

import io
import sys

import pytest

from logflow.cli.main import main

RECORDS = b'{"status":500,"a":{"b":[1,2]}}\n{"status":200}\n'


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(RECORDS)))


@pytest.mark.usefixtures("stdin")
@pytest.mark.parametrize("engine", ["python", "auto"])
@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (["status >= 500"], "true\nfalse\n"),
        (["a"], '{"b":[1,2]}\nnull\n'),
        (["--where", "status < 500"], '{"status":200}\n'),
        (["--tag", "x.y", "tag()"], '"x.y"\n"x.y"\n'),
    ],
)
def test_values_and_records(
    arguments: list[str], out: str, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--engine", engine, *arguments]) == 0
    assert capsys.readouterr().out == out


def test_what_is_no_record_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a":1}\n[1]\nx\n{"a":2}\n')))
    assert main(["eval", "a"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "1\n2\n"
    assert [line.partition(":")[0] for line in captured.err.splitlines()] == [
        "line 2 is not a JSON object", "line 3 is not a JSON object",
    ]  # fmt: skip


def test_a_mistaken_expression_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "lenght(a)"]) == 2
    assert "did you mean 'len'?" in capsys.readouterr().err
