"""From YAML text to a tree that knows its lines."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.config.reading import MAX_DEPTH, read_scalar, read_tree
from logflow.config.substitution import Substitution
from logflow.config.tree import Node, Problem, child, to_data


def read(text: str | bytes, **env: str) -> tuple[Node | None, list[str]]:
    problems: list[Problem] = []
    data = text.encode() if isinstance(text, str) else text
    tree = read_tree(data, "f.yaml", Substitution(env), problems)
    return tree, [str(problem) for problem in problems]


def data_of(text: str, **env: str) -> Any:
    tree, problems = read(text, **env)
    assert not problems
    assert tree is not None
    return to_data(tree)


def test_every_value_knows_the_line_of_its_key_or_list_item() -> None:
    tree, _ = read("# note\nouter:\n\n  inner:\n    - one\n    - two: 2\n")
    assert tree is not None
    path: list[str | int] = ["outer", "inner", 1, "two"]
    lines = []
    for part in path:
        below = child(tree, part)
        assert below is not None
        tree = below
        lines.append(tree.place.line)
    assert lines == [2, 4, 6, 6]


def test_scalars_follow_the_core_schema_of_yaml_1_2() -> None:
    assert data_of("[1, -2, 0x1f, 0o17, 0755, 1.5, 1e3, .5]") == [1, -2, 31, 15, 755, 1.5, 1000.0, 0.5]
    assert data_of("[true, False, null, ~, '5']") == [True, False, None, None, "5"]
    text = ["yes", "no", "on", "12:30", "2026-01-31", "1_000", "1.2.3"]
    assert data_of(f"[{', '.join(text)}]") == text
    assert data_of("-.inf") == -math.inf
    assert math.isnan(data_of(".nan"))


def test_keys_are_always_text() -> None:
    assert data_of("{on: 1, 2: 3, null: 4}") == {"on": 1, "2": 3, "null": 4}


def test_an_explicit_tag_says_how_a_scalar_is_read() -> None:
    assert data_of("[!!str 5, !!int '5', ! 5]") == ["5", 5, 5]


def test_aliases_repeat_values_and_merge_keys_fill_up_mappings() -> None:
    text = "base: &base {a: 1, b: 2}\nuse: {<<: *base, b: 3}\nagain: *base\nboth: {<<: [*base, {c: 4}]}"
    assert data_of(text)["use"] == {"a": 1, "b": 3}
    assert data_of(text)["again"] == {"a": 1, "b": 2}
    assert data_of(text)["both"] == {"a": 1, "b": 2, "c": 4}


def test_a_key_that_is_there_twice_names_both_lines() -> None:
    assert read("a:\n  b: 1\n  c: 2\n  b: 3\n")[1] == [
        "f.yaml:4: a.b: defined twice; the first one is on line 2"
    ]


def test_a_substituted_scalar_is_read_again_unless_it_was_quoted() -> None:
    assert data_of("a: ${N}\nb: '${N}'\nc: ${N}s\nd: ${X:-true}\ne: ${X:-}", N="5") == {
        "a": 5, "b": "5", "c": "5s", "d": True, "e": "",
    }  # fmt: skip


def test_a_failed_substitution_names_the_line_and_the_rest_is_read() -> None:
    tree, problems = read("a: ${MISSING}\nb: 1\n")
    assert len(problems) == 1
    assert problems[0].startswith("f.yaml:1: a: the environment variable MISSING is not set; set it or")
    assert tree is not None
    assert to_data(tree) == {"a": "${MISSING}", "b": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c", "f.yaml:1: not valid YAML: a ':' that is not expected here"),
        ("a:\n\t- b", "f.yaml:2: not valid YAML: a tab in the indentation; indent with spaces"),
        ("a: {b: ${NAME}}", "f.yaml:1: not valid YAML: text with ${...} must be quoted between braces"),
        ("a: [1,\nb: 2", "f.yaml:2: not valid YAML: "),
        ("a: *nobody", "f.yaml:1: a: there is no anchor &nobody above"),
        ("a: &a [*a]", "f.yaml:1: a[0]: there is no anchor &a above"),
        (b"a: 1\nb: \xff", "f.yaml:2: not UTF-8 text; save the file as UTF-8"),
        ("a: 1\nb: \x01", "f.yaml:2: the character U+0001 is not allowed"),
        ("a: 1\n---\nb: 2", "f.yaml:3: a second document; use one file for each"),
        ("? [a]\n: 1", "f.yaml:1: a key must be plain text"),
        ("a: !secret x", "f.yaml:1: a: the tag !secret is not known; remove it"),
        ("a: {<<: 5}", "f.yaml:1: a.<<: '<<' takes a mapping or a list of mappings"),
    ],
)
def test_what_cannot_be_read_is_one_problem(text: str | bytes, problem: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert problems[0].replace('["<<"]', ".<<").startswith(problem)


def test_a_file_that_is_empty_is_nothing() -> None:
    assert read("") == read("# only a comment\n") == (None, [])


def test_nesting_is_bounded() -> None:
    assert not read("[" * MAX_DEPTH + "]" * MAX_DEPTH)[1]
    assert "nested deeper than 40 levels" in read("[" * 100_000)[1][0]


def test_aliases_cannot_be_used_to_grow_without_bound() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert "more than 100000 values" in read("\n".join(lines))[1][0]


_scalar = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
_keys = st.text().filter(lambda key: "${" not in key)  # in keys nothing is substituted, and nothing escaped
_data = st.recursive(
    _scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4)
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_keys, _data, max_size=4))
def test_what_pyyaml_writes_is_read_back(data: dict[str, Any]) -> None:
    """All is quoted, with tags, as YAML 1.1 and 1.2 differ in what is a number."""
    text = yaml.safe_dump(data, default_style='"').replace("${", "$${")
    tree, problems = read(text)
    assert not problems
    assert tree is not None
    assert to_data(tree) == data


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("a:{}[]-&*!|>'\"%#\n ${1}~<", max_size=60).map(str.encode)))
def test_arbitrary_bytes_give_a_tree_or_problems(data: bytes) -> None:
    tree, problems = read(data)
    assert tree is None or isinstance(tree, Node)
    assert all("\n" not in problem for problem in problems)


@given(st.text(max_size=20))
def test_every_scalar_can_be_read(text: str) -> None:
    assert isinstance(read_scalar(text), str | int | float | bool | None)
