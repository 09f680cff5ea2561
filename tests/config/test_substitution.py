"""What ``${...}`` stands for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.config.substitution import Substitution

ENV = {"NAME": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${NAME}", "value"),
        ("a ${NAME} b ${NAME}", "a value b value"),
        ("${EMPTY:-default}", "default"),
        ("${MISSING:-}", ""),
        ("${MISSING:-a:-b $ c}", "a:-b $ c"),
        ("$${NAME}", "${NAME}"),
        ("^a$|$NAME|$$|{NAME}", "^a$|$NAME|$$|{NAME}"),
    ],
)
def test_expressions(text: str, result: str) -> None:
    assert Substitution(ENV).apply(text, Path()) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${MISSING}", "MISSING is not set; set it or give a default"),
        ("${EMPTY}", "EMPTY is empty; set it or give a default"),
        ("${NAME", "write \\$\\${ for a literal"),
        ("${}", "is not \\${NAME}"),
        ("${1x}", "is not \\${NAME}"),
        ("${file:/no/such/file}", "cannot read /no/such/file: No such file or directory"),
        ("${file:}", "is not a regular file"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Substitution(ENV).apply(text, Path())


def test_a_file_gives_its_content_without_a_final_newline(tmp_path: Path) -> None:
    for content, value in (
        (b"key\n", "key"),
        (b"key\r\n", "key"),
        (b"key", "key"),
        (b"two\nlines\n\n", "two\nlines\n"),
    ):
        (tmp_path / "secret").write_bytes(content)
        assert Substitution({}).apply("${file:secret}", tmp_path) == value
        assert Substitution({}).apply(f"${{file:{tmp_path}/secret}}", Path("/")) == value


def test_a_file_must_be_text_of_a_bounded_size_and_not_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"x" * (1 << 20) + b"x")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("binary", "not UTF-8"),
        ("large", "larger than 1MiB"),
        ("pipe", "not a regular file"),
    ):
        with pytest.raises(ValueError, match=message):
            Substitution({}).apply(f"${{file:{name}}}", tmp_path)


def test_what_must_not_be_shown_is_remembered() -> None:
    substitution = Substitution(ENV)
    substitution.apply("${NAME} ${MISSING:-default}", Path())
    assert substitution.secrets == {"value": "${NAME}"}


@given(st.text(min_size=1))
def test_values_are_not_substituted_again(value: str) -> None:
    assert Substitution({"X": value}).apply("${X}", Path()) == value


@given(st.text().filter(lambda text: "${" not in text))
def test_text_without_an_expression_stays_as_it_is(text: str) -> None:
    assert Substitution({}).apply(text, Path()) == text


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
def test_an_empty_file_is_a_mistake(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match="key is empty; put the value into it"):
        Substitution({}).apply("${file:key}", tmp_path)
