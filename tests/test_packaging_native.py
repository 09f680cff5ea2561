"""What setup.py decides about the native engine."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import logflow
from logflow.engine import load_engine
from logflow.errors import ComponentError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def native_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """The function of setup.py, on a machine without programs."""
    spec = importlib.util.spec_from_file_location("logflow_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LOGFLOW_REQUIRE_NATIVE", raising=False)
    found: Callable[[], dict[str, Any]] = module.native_engine
    return found


def _put_cargo(directory: Path) -> None:
    cargo = directory / "cargo"
    cargo.write_text("#!/bin/sh\nexit 1\n")
    cargo.chmod(0o755)


def test_without_cargo_it_is_pure_python_and_says_so_in_one_line(
    native_engine: Callable[[], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert native_engine() == {}
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "without its native engine" in said


def test_without_cargo_a_required_engine_is_an_error(
    native_engine: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGFLOW_REQUIRE_NATIVE", "1")
    with pytest.raises(SystemExit, match="install Rust"):
        native_engine()


@pytest.mark.parametrize(("required", "optional"), [(None, True), ("0", True), ("1", False)])
def test_with_cargo_a_failed_build_is_an_error_only_where_the_engine_is_required(
    native_engine: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    required: str | None,
    optional: bool,
) -> None:
    pytest.importorskip("setuptools_rust", reason="setuptools-rust is installed for builds only")
    _put_cargo(tmp_path)
    if required is not None:
        monkeypatch.setenv("LOGFLOW_REQUIRE_NATIVE", required)
    (extension,) = native_engine()["rust_extensions"]
    assert extension.optional is optional
    assert extension.debug is False


def test_the_locked_crates_are_those_of_the_manifest() -> None:
    """Cargo.lock is committed and names every direct dependency."""
    manifest = tomllib.loads((ROOT / "native/Cargo.toml").read_text())
    locked = {
        package["name"] for package in tomllib.loads((ROOT / "native/Cargo.lock").read_text())["package"]
    }
    assert set(manifest["dependencies"]) <= locked


def test_crate_and_package_have_one_version() -> None:
    crate = tomllib.loads((ROOT / "native/Cargo.toml").read_text())["package"]["version"]
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert crate == package == logflow.__version__


def test_an_engine_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier build left behind could give other results than the Python twin."""
    pytest.importorskip("logflow.engine._native", exc_type=ImportError)
    monkeypatch.delenv("LOGFLOW_ENGINE", raising=False)
    monkeypatch.delenv("LOGFLOW_REQUIRE_NATIVE", raising=False)
    assert load_engine("auto").name == "native"
    monkeypatch.setattr("logflow.engine.__version__", "99.0")
    assert load_engine("auto").name == "python"
    with pytest.raises(ComponentError, match="built for"):
        load_engine("native")
