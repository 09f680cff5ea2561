r"""Times in text to nanoseconds since the epoch.

One rule holds for every format: a time outside what an EventTime can carry (1970-01-01 to
2106-02-07), or that no calendar has (30 February, 24:00, second 60), is not a time.

Formats (``time_format``):

======================  =====================================================================
``iso8601``             ``YYYY-MM-DD``, then ``T``, ``t`` or one space, ``HH:MM:SS``, a fraction
                        after ``.`` or ``,``, at most one space, ``Z``, ``z``, ``±HH:MM``, ``±HHMM`` or
                        ``±HH``. Fraction and offset may be missing.
``unix``, ``unix_ms``,  a number of seconds, ms, µs or ns, as integer, float or decimal text; a float
``unix_us``,            counts as its shortest decimal form
``unix_ns``
anything else           a pattern of ``%`` directives, see :data:`_DIRECTIVES`
======================  =====================================================================

Digits of a fraction beyond the ninth are ignored.

A time without a year, as ``%b %d %H:%M:%S`` reads it, is of the latest year in which there is such a day and
not later than the end of tomorrow (UTC): on 1 January, 31 December was last year, while a clock that is a
day ahead, or a zone, does not make it a year old. 29 February is looked for eight years back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from logflow.event import MAX_TIME_NS, NANOSECOND

ReadTime: TypeAlias = Callable[[object], int | None]
"""Reads a field's value; ``None`` when it is not a time."""

MAX_TIME_TEXT = 100
"""Longest text, in characters, that is looked at."""

_CACHED = 4096
_YEARS_BACK = 8
"""Leap days are at most so many years apart."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()
RFC3339_PARTS = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)"
"""Pattern of a time in bytes, in three groups: up to the second, fraction, offset."""
_match_rfc3339 = re.compile(RFC3339_PARTS).fullmatch
_ISO8601 = (
    r"(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})[Tt ]"
    r"(?P<H>[0-9]{2}):(?P<M>[0-9]{2}):(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]+))? ?"
    r"(?P<z>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_UNIX_DIGITS = {"unix": 9, "unix_ms": 6, "unix_us": 3, "unix_ns": 0}
_DECIMAL = re.compile(r"([0-9]{1,20})(?:\.([0-9]*))?", re.ASCII).fullmatch
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    r"(?P<b>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sep(?:tember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))"
)
_WEEKDAY = r"(?i:mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
_FRACTION = r"(?P<f>[0-9]+)"
_DIRECTIVES = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",  # 69 to 99 are 19xx, 00 to 68 are 20xx
    "m": r"(?P<m>[0-9]{1,2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "e": r" ?(?P<d>[0-9]{1,2})",
    "b": _MONTH,
    "B": _MONTH,
    "h": _MONTH,
    "a": _WEEKDAY,  # read and ignored
    "A": _WEEKDAY,
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>[0-9]{1,2})",
    "p": r"(?P<p>(?i:am|pm))",
    "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})",
    "f": _FRACTION,
    "L": _FRACTION,
    "N": _FRACTION,
    "z": r"(?P<z>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)",
    "Z": r"(?:UTC|GMT|Z)",
    "s": r"(?P<s>[0-9]{1,10})",
    "%": "%",
}
_SHORTHANDS = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "D": "%m/%d/%y", "R": "%H:%M"}


def in_range(time_ns: int) -> int | None:
    """Return the time if an EventTime can carry it."""
    return time_ns if 0 <= time_ns <= MAX_TIME_NS else None


def _fraction_ns(digits: str | bytes | None) -> int:
    return int(digits[:9]) * 10 ** (9 - min(len(digits), 9)) if digits else 0


def parse_rfc3339(text: bytes) -> int | None:
    """Read a time as containers' logs have it: ``T`` and ``Z`` upper case, the offset required.

    Source: RFC 3339, section 5.6; the digits of the fraction may be any number, as in Go's
    ``RFC3339Nano``.
    """
    match = _match_rfc3339(text)
    if match is None:
        return None
    return rfc3339_ns(*match.groups())


def rfc3339_ns(moment: bytes, fraction: bytes | None, offset: bytes) -> int | None:
    """Put a time together of the parts that :data:`RFC3339_PARTS` matches."""
    seconds = _rfc3339_seconds(moment, offset)
    return None if seconds is None else in_range(seconds * NANOSECOND + _fraction_ns(fraction))


@lru_cache(maxsize=_CACHED)
def _rfc3339_seconds(moment: bytes, offset: bytes) -> int | None:
    offset_s = _offset_s(offset.decode())
    try:
        time = datetime(*(int(digits) for digits in re.split(b"[-T:]", moment)), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return None
    return None if offset_s is None else _seconds(time) - offset_s


def _seconds(moment: datetime) -> int:
    """Seconds since the epoch of a moment in UTC."""
    days = moment.toordinal() - _EPOCH_DAY
    return days * 86400 + moment.hour * 3600 + moment.minute * 60 + moment.second


def parse_timezone(name: str) -> tzinfo:
    """Read a time zone: ``UTC``, ``±HH:MM`` or a name of the IANA database such as ``Europe/Berlin``.

    Raises:
        ValueError: there is no such zone.
    """
    seconds = _offset_s(name)
    if name == "UTC":
        return UTC
    if seconds is not None:
        return timezone(timedelta(seconds=seconds))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write UTC, +02:00 or Europe/Berlin") from None


def _offset_s(text: str) -> int | None:
    """Read ``Z``, ``±HH:MM``, ``±HHMM`` or ``±HH`` as seconds east of Greenwich."""
    if text in {"Z", "z"}:
        return 0
    digits = text[1:].replace(":", "")
    if text[:1] not in {"+", "-"} or len(digits) not in {2, 4} or not (digits.isascii() and digits.isdigit()):
        return None
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:
        return None
    return (hours * 3600 + minutes * 60) * (-1 if text[0] == "-" else 1)


class TimeFormat:
    """A compiled ``time_format``; call it with a field's value.

    Raises:
        ValueError: the format or the zone is not one.
    """

    def __init__(
        self, time_format: str, zone_name: str = "UTC", now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Compile it; ``now_ns`` tells the time for formats without a year."""
        self._zone = parse_timezone(zone_name)
        self._digits = _UNIX_DIGITS.get(time_format)
        self.pattern = "" if self._digits is not None else _pattern(time_format)
        compiled = re.compile(self.pattern)
        self._match = compiled.fullmatch
        self._names = [name for name in compiled.groupindex if name != "f"]
        self._fraction = compiled.groupindex.get("f", 0)
        self._yearless = self._digits is None and not {"Y", "y", "s"} & compiled.groupindex.keys()
        self._now_ns = now_ns
        self._seconds = lru_cache(maxsize=_CACHED)(self._read_seconds)

    def __call__(self, value: object) -> int | None:
        """Nanoseconds since the epoch, or ``None`` when the value is not a time of this format."""
        if self._digits is not None:
            return _read_unix(value, self._digits)
        if not isinstance(value, str) or len(value) > MAX_TIME_TEXT:
            return None
        match = self._match(value)
        if match is None:
            return None
        groups = match.groups()
        today = self._now_ns() // (86400 * NANOSECOND) if self._yearless else 0
        if not self._fraction:
            seconds = self._seconds(groups, today)
            return None if seconds is None else in_range(seconds * NANOSECOND)
        index = self._fraction - 1
        seconds = self._seconds(groups[:index] + groups[index + 1 :], today)
        return None if seconds is None else in_range(seconds * NANOSECOND + _fraction_ns(groups[index]))

    def _read_seconds(self, groups: tuple[str | None, ...], today: int) -> int | None:
        """Read all but the fraction; most times differ in that only from the one before."""
        fields = dict(zip(self._names, groups, strict=True))
        if text := fields.get("s"):
            return int(text)
        if not self._yearless:
            return self._read_moment(fields, _year(fields))
        this_year = date.fromordinal(today + _EPOCH_DAY).year
        for year in range(this_year + 1, this_year - 1 - _YEARS_BACK, -1):
            seconds = self._read_moment(fields, year)
            if seconds is not None and seconds < (today + 2) * 86400:
                return seconds
        return None

    def _read_moment(self, fields: dict[str, str | None], year: int) -> int | None:
        try:
            moment = datetime(
                year, _month(fields), int(fields["d"] or 0), _hour(fields),
                int(fields.get("M") or 0), int(fields.get("S") or 0), tzinfo=UTC,
            )  # fmt: skip
        except ValueError:
            return None
        if text := fields.get("z"):
            offset_s = _offset_s(text)
        else:
            offset = moment.replace(tzinfo=self._zone).utcoffset()
            offset_s = int(offset.total_seconds()) if offset is not None else None
        return None if offset_s is None else _seconds(moment) - offset_s

    def native(self) -> dict[str, Any]:
        """Describe the format to the native engine.

        ``digits``: how many decimal places turn the number into ns, or ``None``; then ``pattern`` is a
        regex for the whole text with the groups ``Y y m d b H I p M S f z s``, ``iso8601`` says that it is
        that format's, and ``offset_s`` is the zone's offset, ``None`` when it changes with the date.
        """
        from logflow.regexes import parse_pattern  # noqa: PLC0415 - only where one is configured

        fixed = self._zone.utcoffset(None)
        return {
            "digits": self._digits,
            "pattern": parse_pattern(self.pattern).write("native", whole=True) if self.pattern else "",
            "iso8601": self.pattern == _ISO8601,
            "offset_s": None if fixed is None else int(fixed.total_seconds()),
        }


def _pattern(time_format: str) -> str:
    """Compile a pattern of directives to a regular expression."""
    if time_format == "iso8601":
        return _ISO8601
    for letter, long in _SHORTHANDS.items():
        time_format = re.sub(rf"((?:^|[^%])(?:%%)*)%{letter}", rf"\g<1>{long}", time_format)
    parts = re.findall(r"%.|[ \t]+|[^% \t]+|%$", time_format, re.DOTALL)
    used: set[str] = set()
    pattern = ""
    for part in parts:
        if part[0] == "%":
            directive = _DIRECTIVES.get(part[1:])
            if directive is None:
                raise ValueError(
                    f"time_format: {part!r} is not a known directive; known are "
                    f"{' '.join('%' + letter for letter in sorted({*_DIRECTIVES, *_SHORTHANDS}))}"
                )
            names = set(re.findall(r"\?P<(\w)>", directive))
            if names & used:
                raise ValueError(f"time_format: {part!r} says again what was said before")
            used |= names
            pattern += directive
        else:
            pattern += "[ \\t]+" if part[0] in " \t" else re.escape(part)
    if "s" not in used and not (used & {"m", "b"} and "d" in used):
        raise ValueError(
            f"time_format {time_format!r} does not give month and day; write iso8601, unix, unix_ms, "
            "unix_us, unix_ns or a pattern such as '%Y-%m-%d %H:%M:%S'"
        )
    return pattern


def _read_unix(value: object, digits: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return in_range(value * 10**digits)
    if isinstance(value, float):
        return in_range(int(Decimal(repr(value)) * 10**digits)) if abs(value) < 1e20 else None
    match = _DECIMAL(value) if len(value) <= MAX_TIME_TEXT else None
    if match is None:
        return None
    fraction = (match[2] or "")[:digits].ljust(digits, "0")
    return in_range(int(match[1] + fraction))


def _year(fields: dict[str, str | None]) -> int:
    if text := fields.get("Y"):
        return int(text)
    short = int(fields["y"] or 0)
    return short + (1900 if short >= 69 else 2000)


def _month(fields: dict[str, str | None]) -> int:
    if text := fields.get("m"):
        return int(text)
    return _MONTHS.index((fields["b"] or "")[:3].lower()) + 1


def _hour(fields: dict[str, str | None]) -> int:
    if text := fields.get("H"):
        return int(text)
    hour = int(fields.get("I") or 0)
    half = (fields.get("p") or "").lower()
    if fields.get("I") is None:
        return 0
    if not 1 <= hour <= 12:
        raise ValueError("not an hour of the 12-hour clock")
    return hour % 12 + (12 if half == "pm" else 0)
