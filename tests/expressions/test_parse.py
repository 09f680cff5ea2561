"""What an expression may be, and how mistakes in it are reported."""

from __future__ import annotations

import pytest

from logflow.expressions import ExpressionError, compile_expression
from logflow.expressions.tree import Constant, Field


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lenght(x)", "column 1: unknown function 'lenght'; did you mean 'len'?"),
        ("a and lenght(x) > 1", "column 7: unknown function 'lenght'; did you mean 'len'?"),
        ("é == 1 and lenght(x)", "column 12: unknown function 'lenght'"),
        ("a ==\n  lenght(b)", "line 2, column 3: unknown function 'lenght'"),
        ("  lenght(x)", "column 3: unknown function"),
        ("status = 500", "column 8: invalid syntax; to compare, write =="),
        ("", "the expression is empty"),
        (" \n ", "the expression is empty"),
        ("(((", "'(' was never closed"),
        ("a) or (b", "unmatched ')'"),
        ("len()", "len takes 1 argument, not 0: len(value)"),
        ("now(1)", "now takes no arguments, not 1"),
        ("lower(text=a)", "arguments of lower are given by position"),
        ("message.lower()", "values have no methods; write lower(message, …)"),
        ("message.strip_all()", "values have no methods"),
        ("(lambda: 1)()", "only a named function can be called"),
        ("lambda x: x", "expressions do not have a lambda"),
        ("[x for x in y]", "expressions do not have a comprehension"),
        ("(x := 1)", "expressions do not have an assignment"),
        ("{1, 2}", "expressions do not have a set; write a list"),
        ("a & b", "expressions do not have the operator &; write and"),
        ("2 ** 9999999", "expressions do not have the operator **"),
        ("~a", "expressions do not have the operator ~; write not"),
        ("b'x'", "is not a value that a record can hold"),
        ("1j", "is not a value that a record can hold"),
        ("1e999", "a number must fit into 64 bits"),
        ("18446744073709551616", "a number must fit into 64 bits"),
        ("'\\ud800'", "text must be valid Unicode"),
        ("'a' * 10", "text cannot be repeated with *"),
        ("message * 0 if 0 else 'x' * 10000000", "text cannot be repeated with *"),
        ("'%s' % a", "text is not formatted with %"),
        ("f'{a:.2f}'", "f-strings have no formats"),
        ("f'{a!r}'", "f-strings have no formats"),
        ("a is 5", "`is` compares with None, True or False"),
        ("a[::2]", "a slice has a start and a stop, and no step"),
        ("{a: 1}", "the keys of a mapping are text, written out"),
        ("matches(a, b)", "argument 2 of matches must be written out"),
        ("matches(a, '(')", "is not a regular expression"),
        ("matches(a, 5)", "the pattern must be text"),
        ("search(a, 'x', 1)", "has no group 1"),
        ("ip_in(a, '10.0.0.1/8')", "is not a network such as 10.0.0.0/8"),
        ("round(a, 99)", "round keeps 0 to 15 digits"),
        ("parse_time(a, '%Q')", "'%Q' is not a known directive"),
        ("format_time(a, '%Q')", "format_time does not know %Q"),
        ("field(a)", "field takes a name, written out"),
        ("a" * 70_000, "an expression has at most 65,536 characters"),
        ("(" * 10_000 + "a" + ")" * 10_000, "too many nested parentheses"),
        ("not " * 5_000 + "a", "nested"),
        ("-" * 5_000 + "a", ""),
        (" + ".join(["a"] * 100), "nested more than 60 levels deep"),
        ("[" + ",".join(["a"] * 3_000) + "]", "more than 2,000 parts"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_and_what(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("status", Field(("status",))),
        ("a.b.c", Field(("a", "b", "c"), "a.b.c")),
        (
            'kubernetes.labels["app.kubernetes.io/name"]',
            Field(("kubernetes", "labels", "app.kubernetes.io/name")),
        ),
        ("a[0].b", Field(("a", 0, "b"))),
        ("a[-1]", Field(("a", -1))),
        ('field("key.with.dots")', Field(("key.with.dots",))),
        ('field("a.b").c', Field(("a.b", "c"))),
    ],
)
def test_paths_of_fields(text: str, field: Field) -> None:
    assert compile_expression(text).tree == field


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("'a' + 'b'", "ab"),
        ("1 / 0", None),
        ("[1, 2][0]", 1),
        ("lower('X')", "x"),
        ("None", None),
    ],
)
def test_what_differs_for_no_event_is_computed_once(text: str, value: object) -> None:
    assert compile_expression(text).tree == Constant(value)


def test_it_says_what_it_needs_besides_the_record() -> None:
    assert compile_expression("now() - time() > 60 and tag() == a").needs == {"now", "time", "tag"}
    assert compile_expression("a == 1").needs == frozenset()


def test_an_environment_variable_is_read_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "blue")
    assert compile_expression("env('CLUSTER')").tree == Constant("blue")
    assert compile_expression("env('NO_SUCH_VARIABLE', 'green')").tree == Constant("green")
