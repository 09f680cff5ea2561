"""How places, paths and values are named in messages."""

from __future__ import annotations

import pytest

from logflow.config.tree import Items, KeyPath, Mapping, Place, Problem, Scalar, child, format_path, show

PLACE = Place("a.yaml", 3)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("outputs", "central", "servers", 0, "address"), "outputs.central.servers[0].address"),
        (("headers", "X-Key"), "headers.X-Key"),
        (("set", "a.b", 1), 'set["a.b"][1]'),
        (("x y",), '["x y"]'),
        (("a\nb",), '["a\\nb"]'),
    ],
)
def test_paths_are_written_as_users_know_them(path: KeyPath, text: str) -> None:
    assert format_path(path) == text


def test_a_problem_is_place_path_and_text() -> None:
    assert str(Problem(PLACE, ("engine",), "wrong")) == "a.yaml:3: engine: wrong"
    assert str(Problem(PLACE, (), "not valid YAML")) == "a.yaml:3: not valid YAML"


def test_values_are_shown_as_they_were_written_and_cut_when_long() -> None:
    assert show(Scalar(PLACE, 7, "7", "${N}")) == "'${N}'"
    assert show(Scalar(PLACE, None, "", "")) == "nothing"
    assert show(Items(PLACE)) == "a list"
    assert show(Mapping(PLACE)) == "a mapping"
    assert len(show(Scalar(PLACE, "x" * 999, "x" * 999, "x" * 999))) < 90


def test_going_down_ends_where_nothing_is() -> None:
    one = Scalar(PLACE, 1, "1", "1")
    tree = Mapping(PLACE, {"a": Items(PLACE, [one])})
    items = child(tree, "a")
    assert items is not None
    assert child(items, 0) is one
    assert (
        child(items, 1) is child(items, -1) is child(items, "a") is child(tree, 0) is child(one, "a") is None
    )
