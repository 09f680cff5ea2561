"""Every operator and function of the expression language: what it takes, what it means, how it is computed.

One table serves the checks at load, the Python evaluator and the reference. Functions whose arguments must be
written out (a pattern, a format, networks) are prepared once, when the expression is loaded.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import xxhash

from logflow.event import MAX_TIME_NS, NANOSECOND
from logflow.expressions import values
from logflow.expressions.values import MAX_TEXT, Value, limited, number, text_of
from logflow.jsontext import decode_object
from logflow.packing import pack_value
from logflow.regexes import compile_regex, parse_pattern
from logflow.timestamps import TimeFormat

Call = Callable[..., Value]


@dataclass(frozen=True)
class OperationSpec:
    """One operation.

    Attributes:
        name: how it is called; operators have the names of Python's module ``operator``, without underscores.
        signature: its arguments as the reference shows them; ``""`` for operators.
        text: what it gives.
        least: fewest arguments.
        most: most arguments; None for any number.
        call: computes it from the values of its arguments.
        written: places of arguments that must be written out, as they are used when the expression is loaded.
        prepare: makes ``call`` from those written arguments; the call then takes the others.
        native: the constants that the native engine is given for those arguments, where it cannot use them
            as they are.
        folds: whether constant arguments give a constant.
        needs: what of the event it reads besides the record, or ``now``.
    """

    name: str
    signature: str
    text: str
    least: int
    most: int | None
    call: Call | None = None
    written: tuple[int, ...] = ()
    prepare: Callable[..., Call] | None = None
    native: Callable[..., list[Any]] | None = None
    folds: bool = True
    needs: str | None = None


FUNCTIONS: dict[str, OperationSpec] = {}
OPERATORS: dict[str, OperationSpec] = {}


def _operator(name: str, text: str, call: Call | None, arity: int | None = 2) -> None:
    OPERATORS[name] = OperationSpec(name, "", text, arity or 0, arity, call)


# `and`, `or` and `if` do not compute what they need not; `evaluate` knows them by name.
_operator("and", "the first operand that is false, or the last one", None, None)
_operator("or", "the first operand that is true, or the last one", None, None)
_operator("if", "the value of one branch", None, 3)
_operator("not", "whether the operand is false", lambda value: not value, 1)
_operator("eq", "whether two values are equal", lambda left, right: left == right)
_operator("ne", "whether two values differ", lambda left, right: left != right)
_operator("lt", "less", lambda left, right: values.ordered(left, right) and left < right)
_operator("le", "less or equal", lambda left, right: values.ordered(left, right) and left <= right)
_operator("gt", "greater", lambda left, right: values.ordered(left, right) and left > right)
_operator("ge", "greater or equal", lambda left, right: values.ordered(left, right) and left >= right)
_operator("is", "whether a value is None, True or False itself", lambda left, right: left is right)
_operator(
    "in", "whether a list, a mapping or text holds a value", lambda item, box: values.contains(box, item)
)
_operator("add", "sum of numbers; two texts or two lists joined", values.add)
_operator("sub", "difference of numbers", values.subtract)
_operator("mul", "product of numbers", values.multiply)
_operator("truediv", "quotient of numbers, a float", values.divide)
_operator("floordiv", "quotient rounded down", values.floor_divide)
_operator("mod", "remainder, with the sign of the divisor", values.modulo)
_operator("neg", "minus a number", values.negate, 1)
_operator("pos", "a number as it is", values.plus, 1)
_operator("item", "value under a key or at an index", values.item)
_operator("slice", "part of text or of a list", values.cut, 3)
_operator("list", "a list", lambda *items: values.nested(list(items)), None)
_operator(
    "dict",
    "a mapping; keys and values in turn",
    lambda *pairs: values.nested(dict(zip(pairs[::2], pairs[1::2], strict=True))),
    None,
)
_operator(
    "join",
    "an f-string: texts of values, one after another",
    lambda *parts: limited("".join(map(text_of, parts))),
    None,
)


def _function(
    signature: str, text: str, call: Call | None = None, *, written: Sequence[int] = (),
    prepare: Callable[..., Call] | None = None, native: Callable[..., list[Any]] | None = None,
    folds: bool = True, needs: str | None = None,
) -> None:  # fmt: skip
    name, _, inside = signature.rstrip(")").partition("(")
    arguments = [argument.strip() for argument in inside.split(",") if argument.strip()]
    least = sum("=" not in argument and not argument.startswith("*") for argument in arguments)
    most = None if any(argument.startswith("*") for argument in arguments) else len(arguments)
    FUNCTIONS[name] = OperationSpec(
        name, signature, text, least, most, call, tuple(written), prepare, native, folds, needs
    )  # fmt: skip


def _of_text(function: Callable[..., Value]) -> Call:
    """A function of texts: None when an argument is none."""

    def call(*arguments: Value) -> Value:
        return function(*arguments) if all(isinstance(argument, str) for argument in arguments) else None

    return call


def _is_int(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# -- text -----------------------------------------------------------------------------------------


def _len(value: Value) -> Value:
    return len(value) if isinstance(value, str | list | dict) else None


_SPACE = " \t\n\r\x0b\x0c"


def _split(text: Value, separator: Value = None, most: Value = None) -> Value:
    if not isinstance(text, str) or not (most is None or (_is_int(most) and most >= 0)):
        return None
    if separator is None:
        return (
            re.split(f"[{_SPACE}]+", stripped, maxsplit=most or 0)
            if (stripped := text.strip(_SPACE)) and most != 0
            else ([stripped] if stripped else [])
        )
    if not isinstance(separator, str) or not separator:
        return None
    return text.split(separator, -1 if most is None else most)


def _replace(text: str, old: str, new: str) -> Value:
    if not old:
        return text
    # The size is known before anything is made.
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT:
        return None
    return text.replace(old, new)


def _affix(method: str) -> Call:
    def call(text: Value, affixes: Value) -> Value:
        if not isinstance(text, str):
            return False
        several = affixes if isinstance(affixes, list) else [affixes]
        return any(isinstance(affix, str) and getattr(text, method)(affix) for affix in several)

    return call


def _truncate(text: Value, length: Value, suffix: Value = "") -> Value:
    if not isinstance(text, str) or not _is_int(length) or length < 0 or not isinstance(suffix, str):
        return None
    return text if len(text) <= length else limited(text[:length] + suffix)


_function("len(value)", "characters of text, items of a list, fields of a mapping", _len)
_function("lower(text)", "text in lower case", _of_text(str.lower))
_function("upper(text)", "text in upper case", _of_text(str.upper))
_function(
    "strip(text, characters=None)", "text without blanks, or the given characters, at both ends",
    lambda text, characters=_SPACE: text.strip(characters or _SPACE)
    if isinstance(text, str) and isinstance(characters, str) else None,
)  # fmt: skip
_function(
    "split(text, separator=None, most=None)",
    "list of the parts between separators, or between blanks",
    _split,
)
_function("replace(text, old, new)", "text with every `old` replaced", _of_text(_replace))
_function(
    "startswith(text, prefix)", "whether text begins with a text, or with one of a list", _affix("startswith")
)
_function(
    "endswith(text, suffix)", "whether text ends with a text, or with one of a list", _affix("endswith")
)
_function(
    "contains(value, item)", "whether a text, list or mapping holds it: `item in value`", values.contains
)
_function(
    "truncate(text, length, suffix='')",
    "the first `length` characters, and the suffix if any were cut off",
    _truncate,
)


# -- patterns -------------------------------------------------------------------------------------


def _matches(pattern: Value) -> Call:
    found = compile_regex(_written_text("pattern", pattern)).found
    return lambda text: isinstance(text, str) and found(text)


def _search(pattern: Value, group: Value = 0) -> Call:
    compiled = compile_regex(_written_text("pattern", pattern))
    if isinstance(group, bool) or not isinstance(group, int | str) or group not in compiled.groups:
        raise ValueError(f"the pattern {pattern!r} has no group {group!r}")
    return lambda text: compiled.group(text, group) if isinstance(text, str) else None


def _native_search(pattern: str, group: int | str = 0) -> list[Any]:
    parsed = parse_pattern(pattern)
    return [parsed.write_numbered("native"), {**parsed.groups(), 0: 0}[group]]


def _written_text(what: str, value: Value) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the {what} must be text, not {value!r}")
    return value


_function(
    "matches(text, pattern)",
    "whether the regular expression is found anywhere in the text",
    written=[1],
    prepare=_matches,
    native=lambda pattern: [parse_pattern(pattern).write("native")],
)
_function(
    "search(text, pattern, group=0)",
    "what the pattern, or a group of it, matched first; None without a match",
    written=[1, 2],
    prepare=_search,
    native=_native_search,
)


# -- numbers --------------------------------------------------------------------------------------

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII).fullmatch
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,5})?", re.ASCII
).fullmatch


def _int(value: Value) -> Value:
    if isinstance(value, str):
        digits = value.strip(_SPACE)
        return number(int(digits)) if _INTEGER(digits) else None
    return number(int(value)) if isinstance(value, int | float) else None


def _float(value: Value) -> Value:
    if isinstance(value, str):
        digits = value.strip(_SPACE)
        return number(float(digits)) if _DECIMAL(digits) else None
    return float(value) if isinstance(value, int | float) else None


def _str(value: Value) -> Value:
    return None if value is None else text_of(value)


def _round(digits: Value = None) -> Call:
    if digits is not None and not (_is_int(digits) and 0 <= digits <= 15):
        raise ValueError(f"round keeps 0 to 15 digits, not {digits!r}")

    def call(value: Value) -> Value:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return number(round(value) if digits is None else round(value, digits))

    return call


def _abs(value: Value) -> Value:
    return number(abs(value)) if isinstance(value, int | float) else None


def _extreme(pick: Callable[[list[Any]], Any]) -> Call:
    def call(*arguments: Value) -> Value:
        several = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else list(arguments)
        first = several[0] if several else None
        return pick(several) if several and all(values.ordered(first, value) for value in several) else None

    return call


_function("int(value)", "integer of a number (rounded towards zero) or of decimal text", _int)
_function("float(value)", "float of a number or of decimal text", _float)
_function("str(value)", "text of a value: text as it is, anything else as compact JSON", _str)
_function("bool(value)", "whether a value is true: not None, False, 0, or empty", bool)
_function(
    "round(value, digits=None)",
    "number rounded, halves to even; an integer unless `digits` is given",
    written=[1],
    prepare=_round,
)
_function("abs(value)", "number without its sign", _abs)
_function(
    "min(value, *values)", "least of the values, or of a list: all numbers, or all texts", _extreme(min)
)
_function(
    "max(value, *values)", "greatest of the values, or of a list: all numbers, or all texts", _extreme(max)
)


# -- the event and its surroundings ---------------------------------------------------------------


def _env(name: Value, default: Value = None) -> Call:
    found = os.environ.get(_written_text("name", name), default)
    return lambda: found


_function("tag()", "tag of the event", folds=False, needs="tag")
_function("time()", "time of the event, in seconds since 1970", folds=False, needs="time")
_function("source()", "name of the source that the event came from, if known", folds=False, needs="source")
_function(
    "now()", "time at which the expression is computed, in seconds since 1970", folds=False, needs="now"
)
_function("hostname()", "name of this machine", socket.gethostname)
_function(
    "env(name, default=None)",
    "environment variable, read when the configuration is loaded",
    written=[0, 1],
    prepare=_env,
)


# -- times ----------------------------------------------------------------------------------------

_TIME_PIECES = re.compile(r"%(.?)", re.DOTALL)
_TIME_FORMATS: dict[str, Callable[[datetime], str]] = {
    "%": lambda _: "%",
    "Y": lambda moment: f"{moment.year:04d}",
    "m": lambda moment: f"{moment.month:02d}",
    "d": lambda moment: f"{moment.day:02d}",
    "j": lambda moment: f"{moment.timetuple().tm_yday:03d}",
    "H": lambda moment: f"{moment.hour:02d}",
    "M": lambda moment: f"{moment.minute:02d}",
    "S": lambda moment: f"{moment.second:02d}",
    "L": lambda moment: f"{moment.microsecond // 1000:03d}",
    "f": lambda moment: f"{moment.microsecond:06d}",
    "s": lambda moment: f"{int(moment.timestamp())}",
    "F": lambda moment: f"{moment:%Y-%m-%d}",
    "T": lambda moment: f"{moment:%H:%M:%S}",
    "z": lambda _: "+0000",
}


def _parse_time(form: Value = "iso8601", zone: Value = "UTC") -> Call:
    read = TimeFormat(_written_text("format", form), _written_text("time zone", zone))

    def call(value: Value) -> Value:
        time_ns = read(value)
        return None if time_ns is None else time_ns / NANOSECOND

    return call


def _format_time(form: Value = "%Y-%m-%dT%H:%M:%S.%fZ") -> Call:
    for letter in _TIME_PIECES.findall(_written_text("format", form)):
        if letter not in _TIME_FORMATS:
            known = " ".join(f"%{key}" for key in _TIME_FORMATS)
            raise ValueError(f"format_time does not know %{letter}; it knows {known}")

    def call(seconds: Value) -> Value:
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, int | float)
            or not 0 <= seconds <= MAX_TIME_NS // NANOSECOND
        ):
            return None
        whole = int(seconds)
        micros = int((seconds - whole) * 1e6 + 0.5) if isinstance(seconds, float) else 0
        moment = datetime.fromtimestamp(whole + micros // 1_000_000, UTC).replace(
            microsecond=micros % 1_000_000
        )
        return _TIME_PIECES.sub(lambda match: _TIME_FORMATS[match[1]](moment), form)

    return call


_function(
    "parse_time(value, format='iso8601', zone='UTC')",
    "seconds since 1970 of a text or number in a `time_format`",
    written=[1, 2],
    prepare=_parse_time,
    native=lambda form="iso8601", zone="UTC": [TimeFormat(form, zone).native()],
)
_function(
    "format_time(seconds, format='%Y-%m-%dT%H:%M:%S.%fZ')",
    "text of a time in UTC",
    written=[1],
    prepare=_format_time,
)


# -- the rest -------------------------------------------------------------------------------------

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _address(text: Value) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text) if isinstance(text, str) and "%" not in text else None
    except ValueError:
        return None


def _ip_in(*networks: Value) -> Call:
    known: list[_Network] = []
    for network in [one for entry in networks for one in (entry if isinstance(entry, list) else [entry])]:
        try:
            known.append(ipaddress.ip_network(_written_text("network", network)))
        except ValueError as error:
            raise ValueError(f"{network!r} is not a network such as 10.0.0.0/8: {error}") from None

    def call(text: Value) -> Value:
        address = _address(text)
        return address is not None and any(address in network for network in known)

    return call


def _cidr(text: Value, bits: Value) -> Value:
    address = _address(text)
    if address is None or not _is_int(bits) or not 0 <= bits <= address.max_prefixlen:
        return None
    return str(ipaddress.ip_network((address, bits), strict=False))


def _sha256(value: Value, key: Value = None) -> Value:
    if value is None or not (key is None or isinstance(key, str)):
        return None
    data = text_of(value).encode()
    return hmac.new(key.encode(), data, "sha256").hexdigest() if key else hashlib.sha256(data).hexdigest()


def _hash(value: Value) -> Value:
    return None if value is None else xxhash.xxh3_64_intdigest(text_of(value).encode())


def _parse_json(text: Value) -> Value:
    found = decode_object(text.encode()) if isinstance(text, str) else None
    # Packing makes text of integers beyond 64 bits, as in any record.
    return None if found is None else msgspec.msgpack.decode(pack_value(found))


_json = msgspec.json.Encoder().encode


def _to_json(value: Value) -> Value:
    return limited(_json(value).decode())


def _get(container: Value, key: Value, default: Value = None) -> Value:
    found = values.item(container, key)
    return default if found is None else found


_function("coalesce(value, *values)", "the first of the values that is not None")
_function("get(container, key, default=None)", "value under a key or at an index, or the default", _get)
_function(
    "keys(mapping)",
    "list of a mapping's keys",
    lambda value: list(value) if isinstance(value, dict) else None,
)
_function("parse_json(text)", "mapping that the text is in JSON; None if it is not an object", _parse_json)
_function("to_json(value)", "compact JSON of a value", _to_json)
_function(
    "sha256(value, key=None)", "SHA-256 of the value's text in hexadecimal digits; HMAC with a key", _sha256
)
_function("hash(value)", "64-bit hash (xxh3) of the value's text; the same on every machine", _hash)
_function(
    "ip_in(address, network, *networks)",
    "whether an IP address lies in one of the networks",
    written=[1],
    prepare=_ip_in,
)
_function("cidr(address, bits)", "network of an IP address, such as 10.1.0.0/16", _cidr)
_function("field(key)", "the top-level field of exactly this name", written=[0])
