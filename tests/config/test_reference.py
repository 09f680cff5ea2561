"""The reference names every key in words that users know."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from logflow import registry
from logflow.config.models import Settings
from logflow.config.reference import ReferenceRow, _write, reference, rows

COMPONENTS = [(kind, name) for kind in get_args(registry.Kind) for name in registry.built_in(kind)]


def row(kind: registry.Kind, name: str, key: str) -> ReferenceRow:
    return next(row for row in rows(registry.load(kind, name).Config) if row.key == key)


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_key_of_every_component_has_a_description(kind: registry.Kind, name: str) -> None:
    component = registry.load(kind, name)
    without = [row.key for row in rows(component.Config) if not row.meaning.endswith(".")]
    assert without == [], f"{kind} {name}: a sentence is missing"
    assert component.__doc__, f"{kind} {name}: the class has no docstring"


def test_every_key_of_the_top_level_has_a_description() -> None:
    assert [row.key for row in rows(Settings) if not row.meaning.endswith(".")] == []


def test_types_and_defaults_are_written_as_users_write_them() -> None:
    assert row("source", "feed", "max_line")[1:3] == ("size", "`1MiB`")
    assert row("source", "feed", "parse")[1:3] == ("parser or `null`", "`null`")
    assert row("output", "sink", "servers[].address")[1:3] == ("address", "required")
    assert row("output", "sink", "servers[].weight")[1:3] == ("whole number", "`60`")
    assert row("output", "sink", "compress")[1:3] == ("`none`, `gzip`, `zstd`", "`none`")
    assert row("output", "sink", "shared_key")[1:3] == ("secret or `null`", "`null`")
    assert row("output", "sink", "tls")[1:3] == ("`true` or `false` or mapping", "`false`")
    assert row("output", "sink", "tls.ca_file")[1:3] == ("path", "required")
    assert row("output", "sink", "headers")[1:3] == ("mapping of text", "`{}`")
    assert row("output", "sink", "note")[1:3] == ("text", '`""`')
    assert row("output", "sink", "retry.max")[1:3] == ("duration", "`1m`")


@pytest.mark.parametrize(
    ("value", "type_name", "text"),
    [(8 << 20, "size", "8MiB"), (1500, "size", "1500"), (0.5, "duration", "500ms"), (90.0, "duration", "90s"),
     (0.0, "duration", "0"), (("::1", 80), "address", "[::1]:80"), ([1], "list", "[1]"), (True, "", "true")],
)  # fmt: skip
def test_defaults_have_units(value: Any, type_name: str, text: str) -> None:
    assert _write(value, type_name) == text


def test_what_all_outputs_share_is_told_once() -> None:
    page = reference()
    assert page.count("`buffer.when_full`") == 1
    assert page.count("### output `sink`") == 1
