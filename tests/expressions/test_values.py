"""What expressions give, for values that fit and for those that do not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.expressions import Event, ExpressionError, compile_expression
from logflow.expressions.operations import FUNCTIONS

RECORD: dict[str, Any] = {
    "level": "error", "status": 500, "ms": 12.5, "ok": True, "nothing": None, "empty": "",
    "message": "user=ann took 12 ms", "a.b": "dotted", "a": {"b": 1, "c": {"d": [10, 20]}},
    "labels": {"app": "web", "key.with.dots": "x"}, "list": [1, "two", 3.0], "ip": "10.1.2.3",
    "big": 2**64 - 1, "small": -(2**63), "json": '{"x":[1]}', "wide": "grüße, Ωmega",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # fields
        ("level", "error"),
        ("missing", None),
        ("missing.deeper[3]", None),
        ("a.c.d[1]", 20),
        ("a.b", "dotted"),
        ("a['b']", 1),
        ("labels['key.with.dots']", "x"),
        ("field('a.b')", "dotted"),
        ("status.x", None),
        ("list[-1]", 3.0),
        ("list[9]", None),
        ("level[0]", "e"),
        ("level[1:3]", "rr"),
        ("list[:2]", [1, "two"]),
        ("status[0]", None),
        # comparisons: what does not fit is false, not an error
        ("level == 'error' or status >= 600", True),
        ("status > 'a'", False),
        ("status < 'a'", False),
        ("missing < 5", False),
        ("missing > 5", False),
        ("not missing", True),
        ("400 <= status < 600", True),
        ("status == '500'", False),
        ("status == 500.0", True),
        ("big > 1e19", True),
        ("big == 1.8446744073709552e19", False),
        ("ok == 1", True),
        ("ok is True", True),
        ("status is True", False),
        ("nothing is None", True),
        ("missing is not None", False),
        ("list == [1, 'two', 3]", True),
        ("a == {'b': 1, 'c': {'d': [10, 20]}}", True),
        ("'took' in message", True),
        ("'x' not in message", True),
        ("status in [404, 500]", True),
        ("'app' in labels", True),
        ("1 in status", False),
        ("status in 'a'", False),
        ("list in [[1, 'two', 3.0]]", True),
        # and, or, if give a value
        ("empty or 'default'", "default"),
        ("level and status", 500),
        ("'a' if ok else 'b'", "a"),
        ("coalesce(missing, nothing, 0)", 0),
        # arithmetic
        ("ms / 1000", 0.0125),
        ("status // 100", 5),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("7.5 % -2", -0.5),
        ("status / 0", None),
        ("status % 0", None),
        ("status // 0.0", None),
        ("status + level", None),
        ("level + level", "errorerror"),
        ("big + 1", None),
        ("small - 1", None),
        ("-small", 2**63),
        ("big * big", None),
        ("1e308 * 10", None),
        ("list + [4]", [1, "two", 3.0, 4]),
        ("ok + 1", 2),
        ("-level", None),
        ("missing + 1", None),
        ("9007199254740993 / 1", 9007199254740992.0),
        # f-strings
        ("f'{level}: {status} {missing}{ok}'", "error: 500 true"),
        ("f'{list}'", '[1,"two",3.0]'),
        # text
        ("len(message)", 19),
        ("len(list)", 3),
        ("len(a)", 2),
        ("len(5)", None),
        ("upper(wide)", "GRÜSSE, ΩMEGA"),
        ("lower(5)", None),
        ("strip('  x ')", "x"),
        ("strip('--x-', '-')", "x"),
        ("split('a,b,,c', ',')", ["a", "b", "", "c"]),
        ("split('  a  b ')", ["a", "b"]),
        ("split('a b c', ' ', 1)", ["a", "b c"]),
        ("split('')", []),
        ("split('a', '')", None),
        ("replace(level, 'r', 'RR')", "eRRRRoRR"),
        ("replace(level, '', 'x')", "error"),
        ("startswith(level, 'err')", True),
        ("startswith(level, ['x', 'e'])", True),
        ("endswith(status, '0')", False),
        ("truncate(message, 4, '…')", "user…"),
        ("truncate(level, 10, '…')", "error"),
        ("contains(message, 'ann')", True),
        ("contains(list, 1)", True),
        ("matches(message, '^user=')", True),
        ("matches(status, '5')", False),
        (r"search(message, r'user=(\w+)', 1)", "ann"),
        (r"search(message, r'(?P<n>\d+) ms', 'n')", "12"),
        ("search(message, 'zzz')", None),
        # numbers
        ("int('42')", 42),
        ("int(' -7 ')", -7),
        ("int('4.5')", None),
        ("int(4.9)", 4),
        ("int(-4.9)", -4),
        ("int('99999999999999999999')", None),
        ("float('1e3')", 1000.0),
        ("float('1e999')", None),
        ("float('nan')", None),
        ("float(True)", 1.0),
        ("str(ms)", "12.5"),
        ("str(missing)", None),
        ("bool('')", False),
        ("round(2.5)", 2),
        ("round(2.675, 2)", 2.67),
        ("round(5, 1)", 5),
        ("round(1e300)", None),
        ("abs(small)", 2**63),
        ("min(3, 1.0, 2)", 1.0),
        ("max([1, 5, 3])", 5),
        ("min('b', 'a')", "a"),
        ("min(1, 'a')", None),
        ("max([])", None),
        ("min(1, missing)", None),
        # the event, times and the rest
        ("tag()", "app.web"),
        ("time()", 1_700_000_000.5),
        ("source()", "files"),
        ("now()", 1_700_000_001.0),
        ("now() - time()", 0.5),
        ("parse_time('2023-11-14T22:13:20Z')", 1_700_000_000.0),
        ("parse_time('14/11/2023', '%d/%m/%Y')", 1699920000.0),
        ("parse_time('no')", None),
        ("format_time(1700000000.25)", "2023-11-14T22:13:20.250000Z"),
        ("format_time(0, '%F %T %j')", "1970-01-01 00:00:00 001"),
        ("format_time(-1)", None),
        ("ip_in(ip, '10.0.0.0/8')", True),
        ("ip_in(ip, ['192.168.0.0/16', '::/0'])", False),
        ("ip_in(level, '10.0.0.0/8')", False),
        ("cidr(ip, 16)", "10.1.0.0/16"),
        ("cidr('2001:db8::1', 32)", "2001:db8::/32"),
        ("cidr(ip, 99)", None),
        ("parse_json(json).x[0]", 1),
        ("parse_json(level)", None),
        ("to_json(list)", '[1,"two",3.0]'),
        ("to_json(level)", '"error"'),
        ("sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sha256('abc', 'key')", "9c196e32dc0175f86f4b1cb89289d6619de6bee699e4c378e68309ed97a1a6ab"),
        ("hash('abc')", 8696274497037089104),
        ("hash(missing)", None),
        ("get(a, 'b')", 1),
        ("get(list, 7, 'none')", "none"),
        ("keys(labels)", ["app", "key.with.dots"]),
    ],
)
def test_values(text: str, value: Any) -> None:
    event = Event(RECORD, "app.web", 1_700_000_000_500_000_000, "files", 1_700_000_001_000_000_000)
    found = compile_expression(text).evaluate(event)
    assert (found, type(found)) == (value, type(value))


def test_text_is_never_made_longer_than_the_limit() -> None:
    event = Event({"text": "a" * 2000, "long": "b" * 600_000})
    assert compile_expression("replace(text, 'a', text)").evaluate(event) is None
    assert compile_expression("long + long").evaluate(event) is None
    assert compile_expression("f'{long}{long}'").evaluate(event) is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=6,
)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@given(first=VALUES, second=VALUES, third=VALUES)
def test_no_function_raises_whatever_it_is_given(name: str, first: Any, second: Any, third: Any) -> None:
    """Arguments that must be written out are refused at load or used; the others are never refused."""
    spec = FUNCTIONS[name]
    count = max(spec.least, 1 if spec.most is None else min(spec.most, 3))
    written = {
        "matches": "'a+'",
        "search": "'a+'",
        "ip_in": "'10.0.0.0/8'",
        "round": "2",
        "field": "'x'",
        "env": "'X'",
    }
    forms = {"parse_time": "'unix'", "format_time": "'%F'"}
    arguments = [
        (written | forms).get(name, "None")
        if place in spec.written and not (name == "search" and place == 2)
        else f"f{place}"
        for place in range(count)
    ]
    if name in {"parse_time", "search", "env"}:
        arguments = arguments[: min(spec.written) + 1]
    expression = compile_expression(f"{name}({', '.join(arguments)})")
    expression.evaluate(Event({"f0": first, "f1": second, "f2": third}, now_ns=0))


@given(st.text(max_size=200))
def test_any_text_is_an_expression_or_a_clear_mistake(text: str) -> None:
    with suppress(ExpressionError):
        compile_expression(text).evaluate(Event({}, now_ns=0))
