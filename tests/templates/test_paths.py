"""Path templates: what they render, and that nothing escapes."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.event import EventTime
from logflow.templates.paths import PathTemplate, safe_name

T0 = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z, day 318
TEXT = st.text(max_size=300) | st.text(alphabet="./%_~\0\\a\n", max_size=12)


def render(text, tag="a.b.c", time=T0, record=None):
    return PathTemplate(text).render(tag, time, record or {})


def test_placeholders_are_filled():
    assert render("/x/{tag}/{tag[0]}-{tag[-1]}.log") == "/x/a.b.c/a-c.log"
    assert render("/x/%Y/%m-%d %j %H:%M:%S %y%%.log") == "/x/2023/11-14 318 22:13:20 23%.log"
    assert render("/x/{{tag}}") == "/x/{tag}"
    assert render("/x/{hostname}") == f"/x/{os.uname().nodename}"


def test_fields_are_found_by_name_and_by_path():
    record = {
        "a": {"b": "nested", "n": 1},
        "a.c": "exact",
        "flag": True,
        "bin": b"\xff",
        "time": EventTime(T0),
    }
    assert render("/x/{a.b}/{a.c}/{a.n}/{flag}", record=record) == "/x/nested/exact/1/true"
    assert render("/x/{bin}/{app.kubernetes.io/name}", record=record | {"app.kubernetes.io/name": "n"}) == (
        r"/x/\xff/n"
    )
    assert render(
        '/x/{a["n"]}/{items[1].id}/{items[-1].id}/{items[9]}', record=record | {"items": [{}, {"id": 7}]}
    ) == ("/x/1/7/7/_")
    assert render("/x/{time}", record=record) == "/x/2023-11-14T22:13:20.000000000Z"


def test_what_is_missing_is_an_underscore():
    assert (
        render("/x/{none}/{a.b.c}/{tag[9]}/{tag[-9]}/{tag}", tag="", record={"a": {"b": 1}}) == "/x/_/_/_/_/_"
    )


def test_the_static_root_ends_before_the_first_placeholder():
    assert str(PathTemplate("/var/log/%Y/{tag}.log").root) == "/var/log"
    assert str(PathTemplate("/{tag}").root) == "/"
    assert str(PathTemplate("/var/log/all.log").root) == "/var/log"
    assert str(PathTemplate("{tag}").root) == str(Path.cwd())


def test_the_period_is_that_of_the_finest_directive():
    periods = {"x": 0, "%Y": 86400, "%Y-%m-%d": 86400, "%d%H": 3600, "%H%M": 60, "%M%S": 1}
    assert {text: PathTemplate(text).period_s for text in periods} == periods
    assert PathTemplate("{x}").needs_record
    assert not PathTemplate("{tag}{tag[0]}{hostname}").needs_record


def test_the_mapping_is_as_documented():
    assert safe_name("a/b%c\0\nd e", 100) == "a%2Fb%25c%00%0Ad e"
    assert [safe_name(text, 100) for text in ("..", ".", "...", ".x", "")] == [
        "%2E.",
        "%2E",
        "%2E..",
        ".x",
        "_",
    ]
    assert safe_name("é", 100) == "é"
    assert safe_name("\ud800", 100) == "%ED%A0%80"
    long = safe_name("é" * 300, 100)
    assert len(long.encode()) <= 100
    assert long != safe_name("é" * 301, 100)


@settings(max_examples=200, deadline=None)
@given(
    tag=TEXT,
    value=TEXT | st.integers() | st.binary(max_size=20),
    time=st.integers(0, (1 << 32) * 10**9 - 1),
    template=st.sampled_from(
        ["{tag}/{tag[0]}{f}/%Y{tag[1]}.log", "{f}", ".{f}", "{f}{tag}", "{tag}/{f.g}.{f}", "..{f}/{f}."]
    ),
)
def test_nothing_ever_leaves_its_place(tag, value, time, template):
    path = PathTemplate("/root/dir/" + template).render(tag, time, {"f": value})
    names = path.split("/")
    assert names[:3] == ["", "root", "dir"]
    assert len(names) == 4 + template.count("/")
    assert not {"", ".", ".."} & set(names[3:])
    assert all(len(os.fsencode(name)) <= 210 for name in names)
    assert path.isprintable()
    assert os.path.normpath(path) == path


@settings(max_examples=200, deadline=None)
@given(one=TEXT, other=TEXT)
def test_different_values_have_different_names(one, other):
    if one and other and "_" not in (one, other) and "~" not in one + other:
        assert (safe_name(one, 100) == safe_name(other, 100)) == (one == other)
