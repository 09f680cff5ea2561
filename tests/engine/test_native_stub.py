"""The stub of the native engine says what the module has."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import logflow.engine

STUB = ast.parse((Path(logflow.engine.__file__).parent / "_native.pyi").read_text())


@pytest.fixture
def native() -> ModuleType:
    """The compiled module."""
    try:
        return import_module("logflow.engine._native")
    except ImportError as error:
        pytest.skip(str(error))


def test_functions_and_their_parameters(native: ModuleType) -> None:
    functions = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == {name for name in dir(native) if inspect.isbuiltin(getattr(native, name))}
    for name, node in functions.items():
        stubbed = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        assert list(inspect.signature(getattr(native, name)).parameters) == stubbed, name


def test_classes_and_their_methods(native: ModuleType) -> None:
    for node in STUB.body:
        if isinstance(node, ast.ClassDef):
            methods = {method.name for method in node.body if isinstance(method, ast.FunctionDef)}
            assert methods == {name for name in vars(getattr(native, node.name)) if not name.startswith("_")}
