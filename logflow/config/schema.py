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
        definitions[kind] = {"oneOf": [{"$ref": f"#/$defs/{kind}.{name}"} for name in names]}
    definitions["substitution"] = _SUBSTITUTION
    return {"$schema": _DIALECT, "title": "logflow configuration", **schema, "$defs": definitions}


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
    limited = schema.get("type") in _SCALARS or "enum" in schema or "pattern" in schema
    if not limited:
        return schema
    description = {"description": schema.pop("description")} if "description" in schema else {}
    return {**description, "anyOf": [schema, {"$ref": "#/$defs/substitution"}]}


def _rewrite(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """Apply ``change`` to every schema within a schema, innermost first."""
    result = dict(schema)
    for key in ("properties", "patternProperties", "$defs"):
        if key in result:
            result[key] = {name: _rewrite(inner, change) for name, inner in result[key].items()}
    for key in ("items", "additionalProperties", "not"):
        if isinstance(result.get(key), dict):
            result[key] = _rewrite(result[key], change)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in result:
            result[key] = [_rewrite(inner, change) for inner in result[key]]
    return change(result)
