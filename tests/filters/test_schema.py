"""The filter ``schema``."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.errors import ComponentError
from logflow.filters.schema import SchemaFilter
from logflow.testing import make_context

pytest.importorskip("jsonschema_rs")

SCHEMA = {
    "type": "object",
    "properties": {
        "status": {"type": "integer"},
        "user": {"properties": {"mail": {"pattern": "^[^@]+@[^@]+$"}}},
    },
    "required": ["message"],
}


@pytest.fixture
def make(tmp_path, engine):
    def make(**options):
        return SchemaFilter(
            SchemaFilter.Config(**options), make_context(tmp_path, "check", kind="filter", engine=engine.name)
        )

    return make


def send(step, *records):
    kept = step.apply(Batch.from_events("app", list(enumerate(records))))
    return [] if kept is None else [record for _, record in kept.events()]


def test_what_does_not_fit_is_marked_with_the_reason_which_names_no_value(make):
    assert send(
        make(inline=SCHEMA),
        {"message": "a", "status": 200},
        {"message": "a", "status": "secret"},
        {"status": 1},
        {"message": "a", "user": {"mail": "secret"}},
    ) == [
        {"message": "a", "status": 200},
        {"message": "a", "status": "secret", "schema_error": 'status: the value is not of type "integer"'},
        {"status": 1, "schema_error": '"message" is a required property'},
        {
            "message": "a", "user": {"mail": "secret"},
            "schema_error": 'user.mail: the value does not match "^[^@]+@[^@]+$"',
        },
    ]  # fmt: skip


def test_or_is_dropped(make):
    step = make(inline=SCHEMA, mismatch="drop")
    assert send(step, {"message": "a"}, {}, {"message": "b"}) == [{"message": "a"}, {"message": "b"}]
    assert step.apply(Batch.from_events("app", [(0, {})])) is None


def test_a_batch_that_fits_is_not_copied(make):
    batch = Batch.from_events("app", [(0, {"message": "a"})])
    assert make(inline=SCHEMA).apply(batch) is batch


async def test_the_schema_may_be_in_a_file_also_where_nothing_is_opened(make, tmp_path):
    path = tmp_path / "event.json"
    path.write_text(json.dumps(SCHEMA))
    opened = make(file=str(path), reason_field="bad.why")
    await opened.open()
    for step in (opened, make(file=str(path), reason_field="bad.why")):
        assert send(step, {}) == [{"bad": {"why": '"message" is a required property'}}]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "foo"}, "not valid under"),
        ({"pattern": "(?=a)b"}, "regex"),
        ({"pattern": "(x{1000}){1000}"}, "regex"),
        ({"$ref": "http://127.0.0.1:1/other"}, "is another document"),
        ({"$ref": "file:///etc/hostname"}, "is another document"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
    ],
)
def test_a_hostile_schema_is_refused_in_one_line(make, schema, why):
    with pytest.raises(ComponentError, match=re.escape(why)) as caught:
        make(inline=schema)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "No such file"),
        (b"{", "truncated"),
        (b"[" * 100_000, "cannot be used"),
        (b'"' + b"x" * 2_000_000 + b'"', "larger than 1MiB"),
        (json.dumps({"$defs": {}, "allOf": [5]}).encode(), "cannot be used"),
    ],
)
async def test_a_file_that_is_no_schema_ends_the_start(make, tmp_path, data, why):
    path = tmp_path / "event.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ComponentError, match=why):
        await make(file=str(path)).open()


def test_patterns_that_explode_elsewhere_and_schemas_that_go_in_circles_take_no_time(make):
    step = make(inline={"properties": {"a": {"pattern": "^(a+)+$"}, "b": {"$ref": "#"}}})
    assert "schema_error" in send(step, {"a": "a" * 50_000 + "b", "b": {"b": {"a": "a"}}})[0]


def test_integers_of_64_bits_and_text_of_10_mb_are_checked(make):
    step = make(inline={"properties": {"n": {"maximum": 2**63}, "text": {"maxLength": 5}}})
    fits, large, long = send(step, {"n": 2**63}, {"n": 2**64 - 1}, {"text": "x" * 10_000_000})
    assert "schema_error" not in fits
    assert large["schema_error"].startswith("n: the value is greater than")
    assert len(long["schema_error"]) < 200


@pytest.mark.parametrize("options", [{}, {"file": "a", "inline": {}}])
def test_a_mistake_in_the_configuration_is_explained(options):
    with pytest.raises(ValidationError, match="set one of file and inline"):
        SchemaFilter.Config(**options)
