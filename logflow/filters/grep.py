"""Filter ``grep``: keeps the events whose fields match."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import FieldName, Notation
from logflow.config.options import FilterConfig
from logflow.regexes import parse_pattern


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_pattern(pattern: str) -> str:
    parse_pattern(pattern)
    return pattern


Patterns = Annotated[
    list[Annotated[str, AfterValidator(_check_pattern)]],
    BeforeValidator(_as_list),
    Notation(
        "regular expression, or a list of them",
        "^debug$",
        {"type": ["string", "array"], "items": {"type": "string"}},
    ),
]
"""One regular expression or several."""


class GrepFilter(Filter):
    """Keeps and excludes by regular expressions, without decoding what it need not; see ``Engine.grep``."""

    only_drops = True

    class Config(FilterConfig):
        """Options of the filter ``grep``."""

        type: Literal["grep"] = "grep"
        keep: dict[FieldName, Patterns] = Field(
            {},
            description="Keep only events whose fields match: `{field: pattern}`. Fields may be paths "
            "(`kubernetes.namespace`), patterns may be lists, and are searched anywhere in the field.",
        )
        exclude: dict[FieldName, Patterns] = Field(
            {}, description="Drop events of which any field matches.", examples=[{"level": "^debug$"}]
        )
        mode: Literal["and", "or"] = Field(
            "and", description="Whether `keep` needs all of its patterns to match, or one."
        )

        @model_validator(mode="after")
        def _check_rules(self) -> GrepFilter.Config:
            if not self.keep and not self.exclude:
                raise ValueError("set keep or exclude, such as exclude: {level: ^debug$}")
            return self

    def __init__(self, config: GrepFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        keep, exclude = _rules(config.keep), _rules(config.exclude)
        self._paths = [path for path, _ in (*keep, *exclude)]
        self._grep = context.engine.grep(keep, exclude, config.mode)

    def apply(self, batch: Batch) -> Batch | None:
        """Keep what matches."""
        entries, count = self._grep.apply(batch.entries)
        if count == batch.count:
            return batch
        return batch.with_entries(entries, count) if count else None

    def present(self) -> dict[str, int]:
        """In how many events so far each field was there."""
        return dict(zip(self._paths, self._grep.present(), strict=True))


def _rules(fields: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(field, pattern) for field, patterns in fields.items() for pattern in patterns]
