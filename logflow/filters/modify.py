"""Filter ``modify``: sets, removes, renames and copies fields."""

from __future__ import annotations

import socket
from typing import Any, Literal

from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import FieldName
from logflow.config.options import FilterConfig


class ModifyFilter(Filter):
    """Changes packed records through the engine, see ``Engine.modify``.

    The changes are made in the order of the options below, whatever their order in the file, and within
    each as written. For another order use several filters. Fields are paths: ``user.password``, ``a[0]``.
    """

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``modify``."""

        type: Literal["modify"] = "modify"
        rename: dict[FieldName, FieldName] = Field(
            {}, description="`{old: new}`; a field of the top level keeps its place."
        )
        copy_: dict[FieldName, FieldName] = Field({}, alias="copy", description="`{from: to}`.")
        default: dict[FieldName, Any] = Field(
            {}, description="Values of fields that a record does not have; with placeholders as in `set`."
        )
        set_: dict[FieldName, Any] = Field(
            {},
            alias="set",
            description="Values of fields, new or not. Text may hold `{tag}`, `{hostname}` and `{field}`.",
        )
        remove: list[FieldName] = Field([], description="Fields to remove.")

        @model_validator(mode="after")
        def _check_changes(self) -> ModifyFilter.Config:
            if not (self.rename or self.copy_ or self.default or self.set_ or self.remove):
                raise ValueError("set at least one of rename, copy, default, set and remove")
            return self

    def __init__(self, config: ModifyFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        changes: list[tuple[str, str, Any]] = [
            *(("rename", old, new) for old, new in config.rename.items()),
            *(("copy", old, new) for old, new in config.copy_.items()),
            *(("default", key, value) for key, value in config.default.items()),
            *(("set", key, value) for key, value in config.set_.items()),
            *(("remove", key, None) for key in config.remove),
        ]
        self._paths = [key for _, key, _ in changes]
        self._modify = context.engine.modify(changes, {"hostname": socket.gethostname()})

    def apply(self, batch: Batch) -> Batch:
        """Change every record."""
        return batch.with_entries(self._modify.apply(batch.entries, batch.tag), batch.count)

    def present(self) -> dict[str, int]:
        """In how many events so far each field was found, or could be set."""
        return dict(zip(self._paths, self._modify.present(), strict=True))
