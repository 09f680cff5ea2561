"""The JSON Schema accepts what the loader accepts, before ``${...}`` is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from logflow import registry
from logflow.config.reading import read_tree
from logflow.config.schema import config_schema
from logflow.config.substitution import Substitution
from logflow.config.tree import to_data

EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))


@pytest.fixture
def schema(components: None) -> dict[str, Any]:
    return config_schema()


def errors(schema: dict[str, Any], data: object) -> list[str]:
    return [error.json_path for error in jsonschema.Draft202012Validator(schema).iter_errors(data)]


def read(text: str) -> Any:
    """Read YAML as an editor does: ``${...}`` is text."""
    tree = read_tree(text.replace("${", "$${").encode(), "f.yaml", Substitution({}), [])
    assert tree is not None
    return to_data(tree)


def test_it_is_a_schema_of_draft_2020_12(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_component_has_a_definition_told_apart_by_its_type(schema: dict[str, Any]) -> None:
    for kind in ("source", "parser", "filter", "output"):
        for name in registry._BUILT_IN[kind]:
            definition = schema["$defs"][f"{kind}.{name}"]
            assert definition["properties"]["type"] == {"const": name}
            assert "type" in definition["required"]
            assert {"$ref": f"#/$defs/{kind}.{name}"} in schema["$defs"][kind]["oneOf"]


def test_every_reference_leads_to_a_definition(schema: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for inner in value.values() for found in references(inner)]
        return [found for inner in value for found in references(inner)] if isinstance(value, list) else []

    names = {reference.removeprefix("#/$defs/") for reference in references(schema)}
    assert names <= schema["$defs"].keys()
    assert "x-component" not in str(schema)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_ready_configurations_are_valid(schema: dict[str, Any], example: Path) -> None:
    assert errors(schema, read(example.read_text())) == []


def test_mistakes_are_found(schema: dict[str, Any]) -> None:
    valid = "sources: {a: {type: feed, parse: {type: json}}}\nroutes: [{match: '**', outputs: []}]\n"
    assert errors(schema, read(valid)) == []
    for mistake, path in {
        "workers: many": "$.workers",
        "engine: rust": "$.engine",
        "admin: {listen: somewhere}": "$.admin.listen",
        "outputs: {x: {type: sinkk}}": "$.outputs.x",
        "outputs: {x: {type: sink, servers: [{addres: 'a:1'}]}}": "$.outputs.x",
        "data_dr: x": "$",
    }.items():
        assert errors(schema, read(valid + mistake)) == [path]


def test_an_expression_may_stand_for_any_scalar(schema: dict[str, Any]) -> None:
    text = """
workers: ${WORKERS}
engine: ${ENGINE:-auto}
admin: {listen: "${LISTEN}"}
shutdown_timeout: ${TIMEOUT}
sources: {a: {type: feed, max_line: "${MAX}"}}
routes: [{match: "${MATCH}", outputs: ["${OUT}"]}]
"""
    assert errors(schema, read(text)) == []
