"""Imports go in one direction, and components know neither the pipeline nor each other.

The table is that of CONTRIBUTING.md. Imports for type checking only do not count: they are not there
at run time.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import logflow
from logflow import registry

PACKAGE = Path(logflow.__file__).parent

LAYERS = [
    {"errors", "event", "clock", "memory", "extras"},
    {
        "compression",
        "formats",
        "jsontext",
        "multiline",
        "paths",
        "patterns",
        "protobuf",
        "regexes",
        "snappy",
        "timestamps",
    },
    {"packing", "batch", "receipt"},
    {"expressions"},
    {"storage"},
    {"component", "services"},
    {"registry"},
    {"config"},
    {"encoders", "engine", "kubernetes", "templates", "parquet", "parsers", "net", "forward", "telemetry"},
    {"buffers"},
    {"sources", "filters", "stages", "outputs"},
    {"pipeline"},
    {"admin"},
    {"testing"},
    {"rehearsal"},
    {"cli"},
]
"""From the bottom up: a part imports from its own layer and from those below it."""

COMPONENTS = ("sources", "parsers", "filters", "stages", "outputs")
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
MODULES = {
    ".".join(("logflow", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
REGISTERED = {
    target.partition(":")[0] for targets in registry._BUILT_IN.values() for target in targets.values()
}


def statements(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield every statement, except those for type checking."""
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, block, [])
            yield from statements([part for part in inner if isinstance(part, ast.stmt)])
            for part in inner:
                yield from statements(getattr(part, "body", []) if not isinstance(part, ast.stmt) else [])


def imports(path: Path) -> set[str]:
    """Names of the logflow modules that a module imports."""
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name.split(".")[0] == "logflow" and name != "logflow"}


def part_of(module: str) -> str:
    return module.split(".")[1]


def test_every_part_has_a_layer() -> None:
    parts = {part_of(module) for module in MODULES if module not in {"logflow", "logflow.__main__"}}
    assert parts <= RANK.keys()


def test_the_table_of_contributing_is_this_one() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    table = text.partition("| layer | parts |")[2].partition("\n\n")[0].splitlines()[2:]
    assert [set(re.findall(r"`(\w+)`", line)) for line in reversed(table)] == LAYERS


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"logflow", "logflow.__main__"}))
def test_imports_go_downwards(module: str) -> None:
    for imported in imports(MODULES[module]):
        assert RANK[part_of(imported)] <= RANK[part_of(module)], f"{module} imports {imported}"


@pytest.mark.parametrize(
    "module", sorted(module for module in MODULES if part_of(f"{module}.x") in COMPONENTS)
)
def test_components_do_not_import_each_other(module: str) -> None:
    """What several share lies in a module of its own, which is not registered."""
    for imported in imports(MODULES[module]):
        if part_of(imported) in COMPONENTS:
            assert part_of(imported) == part_of(module), f"{module} imports {imported}"
            own = imported == module or imported.startswith(f"{module}.") or module.startswith(f"{imported}.")
            assert imported not in REGISTERED or own, f"{module} imports {imported}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports that are put off until they are needed count too."""
    left = {
        module: {name for name in imports(path) if name in MODULES} - {module}
        for module, path in MODULES.items()
    }
    while leaves := {module for module, needed in left.items() if not needed & left.keys()}:
        left = {module: needed for module, needed in left.items() if module not in leaves}
    assert not left


def test_no_two_classes_have_one_name() -> None:
    """Those that begin with an underscore are known to their module alone."""
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_the_package_needs_neither_tools_nor_what_developers_install() -> None:
    """What needs more, such as hypothesis, lies in ``tools``, which is not in the wheel."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {re.split(r"[^\w-]", library)[0].replace("-", "_") for library in libraries}
        for extra, libraries in project["optional-dependencies"].items()
    }
    refused = extras.pop("dev").difference(*extras.values()) | {"tools", "tests"}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not {name.split(".")[0] for name in names} & refused, module
