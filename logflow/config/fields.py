"""Types of configuration values: sizes, durations, addresses and nested components.

Use them in a component's ``Config`` like any other type::

    class Config(OutputConfig):
        max_body: Size = parse_size("4MiB")
        timeout: Duration = 10.0
        parse: ParserField = None
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from logflow import registry
from logflow.component import ComponentConfig
from logflow.errors import ComponentError
from logflow.expressions import Expression, compile_expression
from logflow.paths import parse_glob, parse_name, parse_path

_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)\s*((?:[kmgt]i?)?b?)", re.IGNORECASE | re.ASCII)
_SIZE_MAX = 2**63 - 1
_SIZE_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ns|us|ms|s|m|h|d)", re.ASCII)
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern}\s*)+", re.ASCII)
_DURATION_MAX = 100 * 366 * 86400.0
_ADDRESS = re.compile(r"(\[[^\[\]\s]+\]|[^:\[\]\s]+):(\d{1,5})", re.ASCII)
_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(value: object) -> int:
    """Read a size in bytes: ``8MiB``, ``64kB``, ``1.5 GiB`` or a number of bytes.

    Raises:
        ValueError: it is not a size.
    """
    size: float = -1
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        unit = _SIZE_UNITS[match[2].lower()]
        size = int(match[1]) * unit if match[1].isdecimal() else int(float(match[1]) * unit)
    if not 0 <= size <= _SIZE_MAX:
        raise ValueError(f"{value!r} is not a size; write a number and a unit, such as 8MiB")
    return int(size)


def parse_duration(value: object) -> float:
    """Read a duration in seconds: ``500ms``, ``5s``, ``1h30m`` or a number of seconds.

    Raises:
        ValueError: it is not a duration.
    """
    duration = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        duration = value
    elif isinstance(value, str) and _DURATIONS.fullmatch(text := value.strip().lower()):
        duration = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION.findall(text))
    if not 0 <= duration <= _DURATION_MAX:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit, such as 5s")
    return float(duration)


def parse_address(value: object) -> tuple[str, int]:
    """Read ``host:port``; an IPv6 host stands in brackets.

    Raises:
        ValueError: it is not an address.
    """
    if isinstance(value, tuple):
        return value
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is not None and int(match[2]) > 65535:
        raise ValueError(f"{value!r} is not an address; write host:port, with a port of 65535 at most")
    if match is None:
        raise ValueError(f"{value!r} is not an address; write host:port, such as 127.0.0.1:24224")
    return match[1].strip("[]"), int(match[2])


def write_address(host: str, port: int) -> str:
    """Write ``host:port``; an IPv6 host stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Notation:
    """Says how a type is written in a configuration: for the reference and for the JSON Schema.

    Args:
        name: what the reference calls the type.
        example: a value as a user would write it.
        schema: the JSON Schema of the written form.
    """

    def __init__(self, name: str, example: str, schema: JsonSchemaValue) -> None:
        self.name = name
        self.example = example
        self._schema = schema

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> JsonSchemaValue:
        """Describe what is written, not what it becomes."""
        return {**self._schema, "examples": [self.example]}


_NUMBER_OR_TEXT: JsonSchemaValue = {"type": ["number", "string"], "minimum": 0}

Size = Annotated[int, BeforeValidator(parse_size), Notation("size", "8MiB", _NUMBER_OR_TEXT)]
"""Bytes; written ``8MiB``."""

Duration = Annotated[float, BeforeValidator(parse_duration), Notation("duration", "5s", _NUMBER_OR_TEXT)]
"""Seconds; written ``5s``."""

Address = Annotated[
    tuple[str, int],
    BeforeValidator(parse_address),
    Notation("address", "127.0.0.1:24224", {"type": "string", "pattern": ":[0-9]+$"}),
]
"""Host and port; written ``127.0.0.1:24224``."""


def parse_expression(value: object) -> Expression:
    """Read an expression; a bare number or boolean of YAML is one too.

    Raises:
        ValueError: it is not one; the text says where in it and why.
    """
    if isinstance(value, Expression):
        return value
    if isinstance(value, bool | int | float):
        value = repr(value)
    if not isinstance(value, str):
        raise ValueError("an expression is text, such as level == 'error'")
    return compile_expression(value)


ExpressionField = Annotated[
    Expression,
    BeforeValidator(parse_expression),
    Notation("expression", "status >= 500", {"type": ["string", "number", "boolean"]}),
]
"""An expression; written in Python's syntax."""


def _check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone is called {name!r}; write one such as Europe/Berlin") from None
    return name


Timezone = Annotated[str, AfterValidator(_check_timezone)]
"""The name of a time zone."""


def _non_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _field_name(value: str) -> str:
    parse_path(value)
    return value


FieldName = Annotated[str, AfterValidator(_field_name)]
"""The path of a field, see :mod:`logflow.paths`."""


def _glob(value: str) -> str:
    parse_glob(value)
    return value


def _top_level_name(value: str) -> str:
    parse_name(value)
    return value


Glob = Annotated[str, AfterValidator(_glob)]
"""A path that may match several fields, see :mod:`logflow.paths`."""

TopLevelName = Annotated[str, AfterValidator(_top_level_name)]
"""The name of a field of the top level; ``*`` stands for any text."""

NonEmpty = Annotated[str, AfterValidator(_non_empty)]


COMPONENT_MARK = "x-component"
"""In place of a component's schema: pydantic accepts no reference to a definition that is not its own."""


class ComponentField:
    """Marks a field that holds a component's configuration, chosen by its ``type``.

    The value is validated by that component's own ``Config`` model, whose module is imported only
    then. Problems inside it are carried as one error of type ``component`` whose context lists them;
    the loader unfolds it so that each is reported at its own line.
    """

    def __init__(self, kind: registry.Kind) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate by the class that the registry knows under ``type``."""
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> JsonSchemaValue:
        """Leave a mark; ``logflow check --schema`` puts the kind's definition in its place."""
        return {COMPONENT_MARK: self.kind}

    def _validate(self, value: object) -> ComponentConfig:
        if isinstance(value, ComponentConfig):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise PydanticCustomError(
                "component_type", "a {kind} is a mapping with a type, such as type: {example}",
                {"kind": self.kind, "example": registry.names(self.kind)[0]},
            )  # fmt: skip
        name = value["type"]
        try:
            model = registry.load(self.kind, name).Config
        except KeyError:
            raise PydanticCustomError(
                "unknown_component", "there is no {kind} of type '{name}'",
                {"kind": self.kind, "name": name, "known": registry.names(self.kind)},
            ) from None  # fmt: skip
        except ComponentError as error:
            raise PydanticCustomError("component_type", "{text}", {"text": str(error)}) from None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise PydanticCustomError("component", "{count} problems", {
                "count": error.error_count(), "errors": error.errors(), "model": model,
            }) from None  # fmt: skip


class Use(ComponentConfig):
    """In the place of a filter: the filters of a named chain."""

    type: Literal["use"] = "use"
    use: str


class StepMark(ComponentField):
    """Marks an entry of ``filters:``: a filter, or ``{use: NAME}`` for those of a named chain."""

    def __init__(self) -> None:
        super().__init__("filter")

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> JsonSchemaValue:
        """Tell the two apart by the key ``use``, so that a mistake is reported for one of them."""
        use = {"properties": {"use": {"type": "string"}}, "additionalProperties": False}
        return {"if": {"required": ["use"]}, "then": use, "else": {COMPONENT_MARK: self.kind}}

    def _validate(self, value: object) -> ComponentConfig:
        if isinstance(value, dict) and "use" in value and "type" not in value:
            if len(value) > 1 or not isinstance(value["use"], str):
                raise PydanticCustomError(
                    "component_type", "{text}", {"text": "write {use: NAME} and nothing else"}
                )
            return Use(use=value["use"])
        return super()._validate(value)


SourceField = Annotated[ComponentConfig, ComponentField("source")]
ParserField = Annotated[ComponentConfig, ComponentField("parser")]
FilterField = Annotated[ComponentConfig, ComponentField("filter")]
StepField = Annotated[ComponentConfig, StepMark()]
OutputField = Annotated[ComponentConfig, ComponentField("output")]
