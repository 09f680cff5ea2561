r"""Finds what is personal or secret in a text, in linear time: no byte is looked at more than a few times.

===============  ===================================================================================
``email``        1 to 64 characters of ``A-Z a-z 0-9 . _ % + -``, ``@``, 1 to 8 labels and dots, letters
``card``         13 to 19 digits, the first 2 to 6: as one, in groups of four (the last of one to four)
                 between blanks or dashes, or as 4-6-4 and 4-6-5; with the check of Luhn (ISO/IEC 7812)
``iban``         two capital letters, two digits, 11 to 30 more of both, as one or in groups of four
                 between blanks; with the check modulo 97 (ISO 13616)
``ip``           addresses of version 4, also with leading zeros, and of version 6
``jwt``          ``eyJ...``, then two to four parts after dots (RFC 7519, RFC 7516)
``bearer``       the token after the word ``bearer``, in any case, of 16 characters or more (RFC 6750)
``aws_key``      ``AKIA`` or ``ASIA`` and 16 more; the 40 characters after ``secret access key``
``private_key``  from ``-----BEGIN ... PRIVATE KEY-----`` over lines to its end, or that of the text
===============  ===================================================================================

Numbers and names do not begin or end within a word: no letter or digit stands beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Where something was found: start, end."""

_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def _is_alnum_at(text: bytes, at: int) -> bool:
    return at < len(text) and text[at] in _ALNUM


def _is_alnum_before(text: bytes, at: int) -> bool:
    return at > 0 and text[at - 1] in _ALNUM


# -- email ----------------------------------------------------------------------------------------

_LOCAL = _ALNUM | frozenset(b"._%+-")
_domain = re.compile(rb"(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}").match


def _emails(text: bytes) -> Iterator[Span]:
    done = 0
    at = text.find(b"@")
    while at >= 0:
        start, least = at, max(done, at - 64)
        while start > least and text[start - 1] in _LOCAL:
            start -= 1
        found = _domain(text, at + 1) if start < at else None
        if found is not None:
            done = found.end()
            yield start, done
        at = text.find(b"@", max(at + 1, done))


# -- card -----------------------------------------------------------------------------------------

_next_card = re.compile(rb"(?<![0-9A-Za-z])[2-6][0-9]{3,}").search
_card_group = re.compile(rb"[ -]([0-9]{1,4})(?![0-9A-Za-z])").match
_four_six = re.compile(rb"[ -][0-9]{6}[ -][0-9]{4,5}(?![0-9A-Za-z])").match


def _cards(text: bytes) -> Iterator[Span]:
    at = 0
    while (match := _next_card(text, at)) is not None:
        start, at = match.span()
        end = _card(text, start, at)
        if end is not None:
            yield start, end
            at = end


def _card(text: bytes, start: int, end: int) -> int | None:
    if 13 <= end - start <= 19:
        return end if not _is_alnum_at(text, end) and _luhn(text[start:end]) else None
    if end - start != 4:
        return None
    for last, size in reversed(list(_groups(text, end, 19, _card_group))):
        if size >= 13 and _luhn(text[start:last]):
            return last
    match = _four_six(text, end)
    return match.end() if match is not None and _luhn(text[start : match.end()]) else None


def _groups(
    text: bytes, at: int, most: int, group: Callable[[bytes, int], re.Match[bytes] | None]
) -> Iterator[tuple[int, int]]:
    """Ends of groups that follow four characters, with the size of all so far."""
    size = 4
    while (match := group(text, at)) is not None and size + len(match[1]) <= most:
        at, size = match.end(), size + len(match[1])
        yield at, size
        if len(match[1]) < 4:
            break


def _luhn(text: bytes) -> bool:
    """Every second digit from the right counts double."""
    digits = [digit - 48 for digit in reversed(text) if 48 <= digit <= 57]
    return (sum(digits[::2]) + sum(2 * digit // 10 + 2 * digit % 10 for digit in digits[1::2])) % 10 == 0


# -- iban -----------------------------------------------------------------------------------------

_next_iban = re.compile(rb"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}").search
_iban_rest = re.compile(rb"[0-9A-Z]{1,31}").match
_iban_group = re.compile(rb" ([0-9A-Z]{1,4})(?![0-9A-Za-z])").match


def _ibans(text: bytes) -> Iterator[Span]:
    at = 0
    while (match := _next_iban(text, at)) is not None:
        start, at = match.span()
        end = _iban(text, start)
        if end is not None:
            yield start, end
            at = end


def _iban(text: bytes, start: int) -> int | None:
    rest = _iban_rest(text, start + 4)
    if rest is not None:
        end = rest.end()
        whole = 11 <= len(rest[0]) <= 30 and not _is_alnum_at(text, end)
        return end if whole and _modulo_97(text[start:end]) else None
    for last, size in reversed(list(_groups(text, start + 4, 34, _iban_group))):
        if size >= 15 and _modulo_97(text[start:last]):
            return last
    return None


def _modulo_97(text: bytes) -> bool:
    """The first four characters at the end, letters as 10 to 35, modulo 97."""
    compact = text.replace(b" ", b"").decode()
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


# -- ip -------------------------------------------------------------------------------------------

_address_runs = re.compile(rb"[0-9A-Fa-f:.]{3,}").finditer
_next_four = re.compile(
    rb"(?<![0-9A-Za-z.])([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9A-Za-z])(?!\.[0-9])"
).search


def _addresses(text: bytes) -> Iterator[Span]:
    for run in _address_runs(text):
        six = _six(text, *run.span())
        if six is not None:
            yield six
        elif run[0].count(b".") >= 3:
            yield from _fours(text, *run.span())


def _six(text: bytes, start: int, end: int) -> Span | None:
    """The address of version 6 that a run of its characters is."""
    if end - start > 64 or b":" not in text[start:end]:
        return None
    first, last = start, end
    while last > first and text[last - 1 : last] == b".":
        last -= 1
    # A colon that is not one of two belongs to what is around the address.
    if last >= first + 2 and text[last - 1 : last] == b":" and text[last - 2 : last] != b"::":
        last -= 1
    if last >= first + 2 and text[first : first + 1] == b":" and text[first : first + 2] != b"::":
        first += 1
    if (first == start and _is_alnum_before(text, first)) or (last == end and _is_alnum_at(text, last)):
        return None
    try:
        IPv6Address(text[first:last].decode())
    except AddressValueError:
        return None
    return first, last


def _fours(text: bytes, start: int, end: int) -> Iterator[Span]:
    """Addresses of version 4 in a run."""
    while (match := _next_four(text, start, end)) is not None:
        start = match.start() + 1
        if all(int(part) <= 255 for part in match.groups()) and not _is_alnum_at(text, match.end()):
            start = match.end()
            yield match.span()


# -- tokens and keys ------------------------------------------------------------------------------

_jwts = re.compile(
    rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]*+){2,4}+"
).finditer  # fmt: skip
_bearers = re.compile(
    rb"(?i:(?<![A-Za-z0-9])bearer)[ \t:=]{1,4}+[\"']?([A-Za-z0-9._~+/=-]{16,}+)"
).finditer  # fmt: skip
_aws_ids = re.compile(rb"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])").finditer
_aws_secrets = re.compile(
    rb"(?i:secret[_ -]?access[_ -]?key)[\"' \t:=]{1,8}+([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
).finditer
_key_begin = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----").search
_key_end = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----").search


def _aws_keys(text: bytes) -> Iterator[Span]:
    spans = [match.span() for match in _aws_ids(text)] if b"IA" in text else []
    yield from sorted([*spans, *(match.span(1) for match in _aws_secrets(text))])


def _private_keys(text: bytes) -> Iterator[Span]:
    at = 0
    while (begin := _key_begin(text, at)) is not None:
        end = _key_end(text, begin.end())
        at = len(text) if end is None else end.end()
        yield begin.start(), at


DETECTORS: dict[str, Callable[[bytes], Iterator[Span]]] = {
    "email": _emails,
    "card": _cards,
    "iban": _ibans,
    "ip": _addresses,
    "jwt": lambda text: (match.span() for match in _jwts(text)),
    "bearer": lambda text: (match.span(1) for match in _bearers(text)),
    "aws_key": _aws_keys,
    "private_key": _private_keys,
}
