"""Files of tests: what goes in, and what is expected to come out.

::

    tests:
      - name: debug lines of the shop are dropped
        source: containers            # reads `input` as it would read a file: format, joins and parser count
        file: /var/log/containers/web-1_shop_app-0123.log
        input: |
          2026-01-01T00:00:00.1Z stdout F {"level":"debug"}
        at: 2026-01-01T00:00:05Z      # where the clock stands
        expect: {central: []}         # in order; fields that are not named do not matter, or `exact: true`
        dropped: {"filter:grep": 1}
      - name: records by tag
        tag: kube.shop.web
        records: [{a: 1}]
        expect: {archive: [{a: 1}]}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError, field_validator, model_validator

from logflow.config.explain import did_you_mean, explain
from logflow.config.fields import NonEmpty
from logflow.config.mistakes import find_mistakes, scalars_meant_as_text
from logflow.config.models import Settings
from logflow.config.options import Options
from logflow.config.reading import MAX_FILE_BYTES, read_tree
from logflow.config.substitution import Substitution
from logflow.config.tree import Mapping, Node, Place, Problem, child, to_data
from logflow.errors import ConfigError
from logflow.timestamps import parse_rfc3339

_NEW_YEAR_NS = 1_767_225_600_000_000_000


class Case(Options):
    """One test of a configuration."""

    name: NonEmpty = Field(description="What is tested, as a sentence.")
    source: NonEmpty | None = Field(None, description="Name of the source that reads `input`.")
    file: NonEmpty | None = Field(None, description="Path of the file that contains `input`.")
    input: str | None = Field(None, description="What the source reads, such as lines.")
    tag: NonEmpty | None = Field(None, description="Tag of `records`.")
    records: list[dict[str, Any]] | None = Field(None, description="Records that come in under `tag`.")
    at: str = Field("2026-01-01T00:00:00Z", description="Where the clock stands, and the time of `records`.")
    expect: dict[str, list[dict[str, Any]]] = Field({}, description="What outputs get, by their names.")
    exact: bool = Field(default=False, description="Whether fields that are not named must not be there.")
    dropped: dict[str, int] | None = Field(None, description="All events that are dropped, by reason.")

    @field_validator("at")
    @classmethod
    def _check_time(cls, value: str) -> str:
        if parse_rfc3339(value.encode()) is None:
            raise ValueError(f"{value!r} is not a time; write it as 2026-01-31T12:00:00Z")
        return value

    @model_validator(mode="after")
    def _check_ways_in(self) -> Case:
        by_source = (self.source is not None, self.input is not None)
        by_tag = (self.tag is not None, self.records is not None)
        if by_source not in {(True, True), (False, False)} or by_tag != (not by_source[0],) * 2:
            raise ValueError("a test has either source and input, or tag and records")
        if not self.expect and self.dropped is None:
            raise ValueError("a test expects something: set expect, dropped or both")
        return self

    @property
    def time_ns(self) -> int:
        """Where the clock stands."""
        return parse_rfc3339(self.at.encode()) or _NEW_YEAR_NS


class File(Options):
    """A file of tests."""

    tests: list[Case] = Field(description="The tests, in order.")


class Placed(NamedTuple):
    """A test and where it stands."""

    place: Place
    case: Case


def load_cases(paths: Sequence[Path], settings: Settings) -> list[Placed]:
    """Read files of tests; of a directory, those that end in ``.yaml`` or ``.yml``.

    Raises:
        ConfigError: they have mistakes; each is a line with file, line and path.
    """
    problems: list[Problem] = []
    cases = [case for path in _files(paths) for case in _load(path, settings, problems)]
    if problems:
        raise ConfigError([str(problem) for problem in problems])
    return cases


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]


class _Literal(Substitution):
    """Leaves ``${...}`` alone: it may stand in a log line."""

    def apply(self, text: str, directory: Path) -> str:  # noqa: ARG002
        return text


def _load(path: Path, settings: Settings, problems: list[Problem]) -> Iterator[Placed]:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    place = Place(str(path), 1)
    if len(data) > MAX_FILE_BYTES:
        problems.append(Problem(place, (), f"{path} is larger than 1MiB; split it"))
        return
    tree = read_tree(data, str(path), _Literal({}), problems)
    if not isinstance(tree, Mapping):
        problems.append(Problem(place, (), "a file of tests is a mapping with the key 'tests'"))
        return
    for placed in _validate(tree, problems):
        problems += _unknown_names(placed, settings)
        yield placed


def _validate(tree: Mapping, problems: list[Problem]) -> Iterator[Placed]:
    as_text: set[int] = set()
    while True:
        try:
            cases = File.model_validate(to_data(tree, as_text)).tests
        except ValidationError as error:
            mistakes = find_mistakes(error, tree, File)
            if found := scalars_meant_as_text(mistakes) - as_text:
                as_text |= found
                continue
            problems += explain(mistakes, {})
            return
        break
    node: Node | None = tree.items.get("tests")
    for index, case in enumerate(cases):
        at = child(node, index) if node is not None else None
        yield Placed(at.place if at is not None else tree.place, case)


def _unknown_names(placed: Placed, settings: Settings) -> Iterator[Problem]:
    place, case = placed
    if case.source is not None and case.source not in settings.sources:
        hint = did_you_mean(case.source, settings.sources, what="sources")
        yield Problem(place, (), f"there is no source {case.source!r}; {hint}")
    for name in case.expect.keys() - settings.outputs.keys():
        hint = did_you_mean(name, settings.outputs, what="outputs")
        yield Problem(place, (), f"there is no output {name!r}; {hint}")
