"""Paths of fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.paths import FieldPath, parse_path


@pytest.mark.parametrize(
    ("text", "steps", "exact"),
    [
        ("a", ("a",), None),
        ("a.b", ("a", "b"), "a.b"),
        ('a["key.with.dots"]', ("a", "key.with.dots"), None),
        ('["a.b"]', ("a.b",), None),
        ("a['it\\'s'].c", ("a", "it's", "c"), None),
        ("a[0]", ("a", 0), None),
        ("a[-1][2].b", ("a", -1, 2, "b"), None),
        ("@timestamp", ("@timestamp",), None),
        ("kubernetes.labels.app-name", ("kubernetes", "labels", "app-name"), "kubernetes.labels.app-name"),
        ("user name.é", ("user name", "é"), "user name.é"),
        ("1.0", ("1", "0"), "1.0"),
        ('[""]', ("",), None),
    ],
)
def test_what_a_path_says(text: str, steps: tuple[str | int, ...], exact: str | None) -> None:
    assert parse_path(text) == FieldPath(text, steps, exact)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a]", "[0]", 'a"b', "a[0]b", '["\\ud800"]', ".a" * 40],
)
def test_what_is_no_path_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"path of a field|key that can be read"):
        parse_path(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_key_can_be_written(keys: list[str]) -> None:
    import json

    assert parse_path("".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in keys)).steps == tuple(
        keys
    )
