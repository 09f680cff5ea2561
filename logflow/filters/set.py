"""Filter ``set``: computes fields, and gives records the shape that they should have."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import ExpressionField, FieldName, Glob, TopLevelName
from logflow.config.options import FilterConfig


class SetFilter(Filter):
    """Sets fields to what expressions give for the event as it came in, then changes the record's shape.

    Changes are made in the order of the options below, whatever their order in the file; see
    ``Engine.assignment`` and ``Engine.modify``.
    """

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``set``."""

        type: Literal["set"] = "set"
        fields: dict[FieldName, ExpressionField] = Field(
            {},
            description="`{field: expression}`; fields may be paths, values whole subtrees. Where an "
            "expression gives None, nothing is set. All expressions see the event as it came in.",
            examples=[{"latency_s": "latency_ms / 1000"}],
        )
        time: ExpressionField | None = Field(
            None,
            description="The event's time: seconds since 1970, or text such as `2026-01-31T12:00:00Z`. Where "
            "it is neither, the time stays.",
            examples=["parse_time(at, '%d/%m/%Y %H:%M')"],
        )
        rename: dict[FieldName, FieldName] = Field(
            {}, description="`{old: new}`; a field of the top level keeps its place."
        )
        remove: list[Glob] = Field(
            [],
            description="Fields to remove, with all that is in them. `*` stands for any text within a key, "
            "`**` for any number of keys, `[*]` for every item of a list.",
            examples=[["password", "*_token", "kubernetes.labels.*", "**.secret", "items[*].id"]],
        )
        only: list[Glob] = Field(
            [], description="Keep only these fields, with all that is in them; written as in `remove`."
        )
        nest: dict[FieldName, list[TopLevelName]] = Field(
            {},
            description="`{field: [names]}`: move fields of the top level into the mapping `field`. What "
            "comes before the first `*` is left out of their names.",
            examples=[{"http": ["http_*"]}],
        )
        flatten: list[TopLevelName] = Field(
            [],
            description="Mappings of the top level to divide into fields of the top level, those within them "
            "too; `*` is all of them. The names are the keys on the way.",
            examples=[["kubernetes"]],
        )
        separator: str = Field(
            ".", max_length=16, description="What stands between the keys in the names that `flatten` makes."
        )

        @model_validator(mode="after")
        def _check_changes(self) -> SetFilter.Config:
            if not (self.fields or self.time is not None or _changes(self)):
                raise ValueError("set at least one of fields, time, rename, remove, only, nest and flatten")
            return self

    def __init__(self, config: SetFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        engine, changes = context.engine, _changes(config)
        computes = bool(config.fields) or config.time is not None
        self._assignment = engine.assignment(list(config.fields.items()), config.time) if computes else None
        self._modify = engine.modify(changes, {}) if changes else None

    def apply(self, batch: Batch) -> Batch:
        """Change every record."""
        entries = batch.entries
        if self._assignment is not None:
            source = batch.attributes.get("source")
            entries = self._assignment.apply(entries, batch.tag, source, self.context.clock.time_ns())
        if self._modify is not None:
            entries = self._modify.apply(entries, batch.tag)
        return batch.with_entries(entries, batch.count)


def _changes(config: SetFilter.Config) -> list[tuple[str, str, Any]]:
    """The changes of shape, as ``Engine.modify`` takes them."""
    changes: list[tuple[str, str, Any]] = [("rename", old, new) for old, new in config.rename.items()]
    plain = [path for path in config.remove if "*" not in path]
    changes += [("remove", path, None) for path in plain]
    if globs := [glob for glob in config.remove if "*" in glob]:
        changes.append(("prune", "", globs))
    if config.only:
        changes.append(("only", "", config.only))
    changes += [("nest", into, names) for into, names in config.nest.items()]
    if config.flatten:
        changes.append(("flatten", "", (config.flatten, config.separator)))
    return changes
