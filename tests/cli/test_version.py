"""The version line names the engine, and says why when it is not the native one."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

import logflow
from logflow.cli.version import engine_line, version_line
from logflow.engine import load_engine


@pytest.fixture(autouse=True)
def _nothing_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOGFLOW_ENGINE", raising=False)
    monkeypatch.delenv("LOGFLOW_REQUIRE_NATIVE", raising=False)


def test_the_line_names_version_engine_and_python() -> None:
    line = version_line()
    assert line.startswith(f"logflow {logflow.__version__} (engine: {load_engine().name}")
    assert line.endswith(f", Python {platform.python_version()})")


def test_python_is_explained_by_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_line("python") == "python, as the configuration says"
    monkeypatch.setenv("LOGFLOW_ENGINE", "python")
    assert engine_line("native") == "python, as LOGFLOW_ENGINE says"


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an installation without a native engine."""
    (tmp_path / "engine").mkdir()
    monkeypatch.setattr(logflow, "__file__", str(tmp_path / "__init__.py"))
    return tmp_path / "engine"


def test_python_is_explained_by_a_native_engine_that_was_not_built(installation: Path) -> None:
    assert engine_line() == "python, as the native one was not built"


def test_python_is_explained_by_a_native_engine_that_does_not_load(installation: Path) -> None:
    (installation / "_native.abi3.so").write_bytes(b"")
    assert engine_line().startswith("python, as the native one cannot be loaded: ")


def test_there_is_none_when_the_native_one_is_required(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine_line("native") == "none, as the native one was not built"
    monkeypatch.setenv("LOGFLOW_REQUIRE_NATIVE", "1")
    assert engine_line() == "none, as the native one was not built"
