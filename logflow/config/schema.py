"""The JSON Schema (draft 2020-12) of the whole configuration, for editors and other checkers.

::

    properties: sources, routes, ...        from the model of the whole
    $defs
      source, parser, filter, output        oneOf all registered components of the kind
      output.file, output.http, ...         each told apart by its constant `type`
      output.http.ServerOptions, ...        what only that component uses
      substitution                          text with ${...}, which may stand for any scalar
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel

from logflow import registry
from logflow.config.fields import COMPONENT_MARK
from logflow.config.models import Settings

Schema: TypeAlias = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SUBSTITUTION: Schema = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "`${NAME}`, `${NAME:-default}` or `${file:/path}`, replaced when the file is loaded.",
}
_SCALARS = ("integer", "number", "boolean")


def config_schema() -> Schema:
    """Describe every key of a configuration; imports all registered components.

    Raises:
        ComponentError: a plugin cannot be loaded.
    """
    schema = _model_schema(Settings, "")
    definitions: Schema = schema.pop("$defs")
    for kind in get_args(registry.Kind):
        names = registry.names(kind)
        for name in names:
            component = _component_schema(kind, name)
            definitions.update(component.pop("$defs"))
            definitions[f"{kind}.{name}"] = component
        definitions[kind] = _chosen_by_type(kind, names)
    definitions["substitution"] = _SUBSTITUTION
    schema["patternProperties"] = {"^x-": True}
    return {"$schema": _DIALECT, "title": "logflow configuration", **schema, "$defs": definitions}


def _chosen_by_type(kind: registry.Kind, names: list[str]) -> Schema:
    """Let ``type`` decide which definition counts, so that a mistake is told once and at its place."""
    choices = [
        {
            "if": {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"$ref": f"#/$defs/{kind}.{name}"},
        }
        for name in names
    ]
    type_schema = {"enum": names, "description": f"Which {kind} it is."}
    return {"type": "object", "properties": {"type": type_schema}, "required": ["type"], "allOf": choices}


def _component_schema(kind: registry.Kind, name: str) -> Schema:
    schema = _model_schema(registry.load(kind, name).Config, f"{kind}.{name}.")
    schema["properties"]["type"] = {"const": name}
    schema["required"] = sorted({"type", *schema.get("required", [])})
    return schema


def _model_schema(model: type[BaseModel], prefix: str) -> Schema:
    """Make a model's schema, with ``prefix`` before the names of its definitions."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    definitions = schema.pop("$defs", {})
    schema["$defs"] = {f"{prefix}{name}": definition for name, definition in definitions.items()}
    return _rewrite(schema, _finish)


def _finish(schema: Schema) -> Schema:
    """Refer to components, let ``${...}`` stand for a scalar, drop what pydantic adds for itself."""
    if COMPONENT_MARK in schema:
        return {"$ref": f"#/$defs/{schema[COMPONENT_MARK]}"}
    schema = {key: value for key, value in schema.items() if key not in {"title", "format"}}
    if isinstance(schema.get("default"), list | dict | None):
        schema.pop("default", None)  # of the validated form, which is not the written one
    if "anyOf" in schema:
        schema = _chosen_by_kind(schema)
    elif schema.get("type") == "string" and not schema.keys() & {"enum", "pattern", "const"}:
        schema["type"] = ["string", "number", "boolean"]  # which mean their characters
    limited = schema.get("type") in _SCALARS or "enum" in schema or "pattern" in schema
    if not limited:
        return schema
    description = {"description": schema.pop("description")} if "description" in schema else {}
    return {**description, "anyOf": [schema, {"$ref": "#/$defs/substitution"}]}


def _chosen_by_kind(schema: Schema) -> Schema:
    """Let the kind of value decide among the members of a union, where that tells them apart."""
    members: list[Schema] = schema["anyOf"]
    kinds = [_kinds(member) for member in members]
    found = [kind for group in kinds for kind in group]
    if not {"object", "array"} & set(found) or len(found) != len(set(found)) or not all(kinds):
        return schema
    choices = [
        {"if": {"type": sorted(group)}, "then": member}
        for group, member in zip(kinds, members, strict=True)
        if member.keys() != {"type"}
    ]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest, "type": sorted(found), "allOf": choices}


def _kinds(schema: Schema) -> set[str]:
    """The kinds of values that a schema takes; none where that cannot be told."""
    if "anyOf" in schema:
        return set().union(*(_kinds(member) for member in schema["anyOf"]))
    if "$ref" in schema:
        return {"string"} if schema["$ref"].endswith("/substitution") else {"object"}
    kind = schema.get("type", [])
    return {kind} if isinstance(kind, str) else set(kind)


def _rewrite(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """Apply ``change`` to every schema within a schema, innermost first."""
    result = dict(schema)
    for key in ("properties", "patternProperties", "$defs"):
        if key in result:
            result[key] = {name: _rewrite(inner, change) for name, inner in result[key].items()}
    for key in ("items", "additionalProperties", "not", "if", "then", "else"):
        if isinstance(result.get(key), dict):
            result[key] = _rewrite(result[key], change)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in result:
            result[key] = [_rewrite(inner, change) for inner in result[key]]
    return change(result)
