"""Libraries of extras are loaded when they are needed, and missed in one line."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from logflow import extras
from logflow.cli.main import main
from logflow.errors import ComponentError

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]


def test_what_is_there_is_imported() -> None:
    assert extras.load("json.decoder", "any", "nobody").JSONDecoder


@pytest.mark.parametrize("module", ["no_such_library", "no_such_library.part"])
def test_a_missing_library_is_said_with_what_to_install(module: str) -> None:
    with pytest.raises(ComponentError) as caught:
        extras.load(module, "s3", "output archive (s3)")
    assert str(caught.value) == (
        "output archive (s3) needs the library no_such_library, which is not installed; "
        "run: pip install 'logflow-pipeline[s3]'"
    )


def test_a_broken_library_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("from json import no_such_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ComponentError, match="cannot be used: cannot import name 'no_such_name'"):
        extras.load("broken_library", "s3", "output archive (s3)")
    assert "broken_library" not in sys.modules


def test_every_extra_that_is_named_exists() -> None:
    assert {"kafka", "nats", "parquet", "postgres", "query", "s3"} <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize(
    ("library", "extra", "options"),
    [
        ("obstore", "s3", {"type": "s3", "bucket": "b"}),
        ("aiokafka", "kafka", {"type": "kafka", "servers": ["127.0.0.1:9"], "topic": "t"}),
        ("nats", "nats", {"type": "nats", "servers": ["nats://127.0.0.1:9"], "subject": "s"}),
        (
            "asyncpg",
            "postgres",
            {"type": "postgres", "address": "127.0.0.1:9", "database": "d"},
        ),
        ("pyarrow", "parquet", {"type": "file", "path": "/tmp/x", "format": "parquet"}),
        ("h2", "grpc", {"type": "otlp", "endpoints": ["http://127.0.0.1:9"], "protocol": "grpc"}),
    ],
)
def test_check_says_which_extra_is_missing(
    library: str,
    extra: str,
    options: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in [*sys.modules]:
        if module.partition(".")[0] == library or module.startswith("logflow.net.grpc"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    config = tmp_path / "c.yaml"
    config.write_text(
        json.dumps(
            {
                "data_dir": str(tmp_path / "data"),
                "sources": {"in": {"type": "stdin", "tag": "a"}},
                "routes": [{"match": "**", "outputs": ["out"]}],
                "outputs": {"out": options},
            }
        )
    )
    assert main(["check", "-c", str(config)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"needs the library {library}, which is not installed" in line
    assert line.endswith(f"run: pip install 'logflow-pipeline[{extra}]'")
