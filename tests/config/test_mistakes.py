"""Errors are put at the values that they are about, and those that are one mistake are put together."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from logflow.config.fields import OutputField
from logflow.config.mistakes import Mistake, find_mistakes, grouped, scalars_meant_as_text
from logflow.config.reading import read_tree
from logflow.config.substitution import Substitution
from logflow.config.tree import Node, child, to_data


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner | None = None
    either: int | Inner | list[Inner] = 0
    many: dict[str, list[Inner]] = {}
    output: OutputField | None = None


def find(text: str) -> tuple[Node, list[Mistake]]:
    tree = read_tree(text.encode(), "f.yaml", Substitution({}), [])
    assert tree is not None
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(to_data(tree))
    return tree, find_mistakes(caught.value, tree, Outer)


def places(mistakes: list[Mistake]) -> list[tuple[object, ...]]:
    return [(mistake.kind, *mistake.path) for mistake in mistakes]


def test_a_mistake_has_the_path_the_value_and_the_keys_that_are_allowed() -> None:
    tree, (mistake,) = find("many: {x: [{name: a}, {name: b, sise: 1}]}")
    assert mistake.path == ("many", "x", 1, "sise")
    assert mistake.node is child(child(child(child(tree, "many"), "x"), 1), "sise")  # type: ignore[arg-type]
    assert mistake.keys == ["name", "size"]


def test_a_missing_key_is_at_the_mapping_that_lacks_it() -> None:
    tree, (mistake,) = find("inner: {}")
    assert mistake.path == ("inner", "name")
    assert mistake.node is child(tree, "inner")


def test_what_is_inside_of_a_component_is_unfolded() -> None:
    _, mistakes = find("output: {type: sink, compress: x, retry: {max: y}}")
    assert places(mistakes) == [
        ("value_error", "output", "retry", "max"), ("literal_error", "output", "compress"),
    ]  # fmt: skip


def test_of_a_union_the_member_that_fits_best_counts() -> None:
    _, mistakes = find("either: {name: a, size: x}")
    assert len(mistakes) == 3
    assert [places(group) for group in grouped(mistakes)] == [[("int_parsing", "either", "size")]]


def test_of_a_union_that_fits_nowhere_all_members_are_told_together() -> None:
    _, mistakes = find("either: x")
    assert [places(group) for group in grouped(mistakes)] == [
        [("int_parsing", "either"), ("model_type", "either"), ("list_type", "either")]
    ]


def test_an_unknown_key_that_was_meant_to_be_the_missing_one_is_one_mistake() -> None:
    _, mistakes = find("inner: {nane: a}")
    assert [places(group) for group in grouped(mistakes)] == [[("extra_forbidden", "inner", "nane")]]


def test_scalars_that_are_meant_as_text_are_found_but_not_nothing() -> None:
    tree, mistakes = find("inner: {name: 5}\nmany: {x: [{name: ~}, {name: [a]}]}")
    inner = child(tree, "inner")
    assert inner is not None
    assert scalars_meant_as_text(mistakes) == {id(child(inner, "name"))}
