"""The JSON Schema accepts what the loader accepts, before ``${...}`` is replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from logflow import registry
from logflow.config.reading import read_tree
from logflow.config.schema import config_schema
from logflow.config.substitution import Substitution
from logflow.config.tree import to_data

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "config").glob("*.yaml"))


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
            choices = schema["$defs"][kind]["allOf"]
            assert {"$ref": f"#/$defs/{kind}.{name}"} in [choice["then"] for choice in choices]


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


VALID = "sources: {a: {type: feed, parse: {type: json}}}\nroutes: [{match: '**', outputs: []}]\n"


@pytest.mark.parametrize(
    ("mistake", "path"),
    [
        ("engine: rust", "$.engine"),
        ("admin: {listen: somewhere}", "$.admin.listen"),
        ("outputs: {x: {type: sinkk}}", "$.outputs.x.type"),
        ("outputs: {x: {note: a}}", "$.outputs.x"),
        ("outputs: {x: sink}", "$.outputs.x"),
        ("outputs: {x: {type: sink, servers: [{address: 'a:1', wait: 1}]}}", "$.outputs.x.servers[0]"),
        ("outputs: {x: {type: sink, retry: {initial: [1s]}}}", "$.outputs.x.retry.initial"),
        ("outputs: {x: {type: sink, tls: {ca_file: a, ca: b}}}", "$.outputs.x.tls"),
        ("outputs: {x: {type: sink, labels: [[]]}}", "$.outputs.x.labels[0]"),
        ("outputs: {x: {type: http, endpoints: ['http://a'], auth: {user: a}}}", "$.outputs.x.auth"),
        ("x-sources: {}\nsourcess: {}", "$"),
        ("data_dr: x", "$"),
    ],
)
def test_a_mistake_is_one_error_at_its_place(schema: dict[str, Any], mistake: str, path: str) -> None:
    assert errors(schema, read(VALID)) == []
    assert errors(schema, read(VALID + mistake)) == [path]


def test_a_mistake_in_a_nested_component_is_at_its_place(schema: dict[str, Any]) -> None:
    text = VALID.replace("{type: json}", "{type: json, time_kee: a}")
    assert errors(schema, read(text)) == ["$.sources.a.parse"]


def test_what_is_read_as_text_may_be_a_number(schema: dict[str, Any]) -> None:
    assert (
        errors(schema, read(VALID + "outputs: {x: {type: sink, note: 1.20, labels: 5, headers: {a: 1}}}"))
        == []
    )


PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
BLOCKS = [
    (page.name, number, block)
    for page in PAGES
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=lambda value: str(value)[:20])
def test_the_examples_of_the_pages_are_valid(
    schema: dict[str, Any], page: str, number: int, block: str
) -> None:
    """A part of a configuration is put into a whole one."""
    data = read(block)
    if not isinstance(data, dict) or data.keys() & {"apiVersion", "kind", "resources", "services", "groups"}:
        pytest.skip("not a configuration of logflow")
    if data.keys() == {"tests"}:
        pytest.skip("tests of a configuration")
    assert errors(schema, {**read(VALID), **data}) == []


def test_an_expression_may_stand_for_any_scalar(schema: dict[str, Any]) -> None:
    text = """
engine: ${ENGINE:-auto}
admin: {listen: "${LISTEN}"}
shutdown_timeout: ${TIMEOUT}
sources: {a: {type: feed, max_line: "${MAX}"}}
routes: [{match: "${MATCH}", outputs: ["${OUT}"]}]
"""
    assert errors(schema, read(text)) == []
