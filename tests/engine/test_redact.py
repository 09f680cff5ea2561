"""Texts in which something is hidden, in both engines."""

from __future__ import annotations

import os
import time
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.engine.api import Engine
from logflow.engine.changes import DETECTORS, OwnPattern
from logflow.packing import pack_entry, unpack_entries
from tests.engine.test_expressions import both_engines
from tools.strategies import canonical_entries

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def hidden(engine: Engine, text: Any, *detectors: str, action: Any = "mask", **options: Any) -> Any:
    redaction = engine.redaction(
        list(detectors),
        options.pop("own", []),
        options.pop("fields", None),
        action,
        keys=options.pop("keys", False),
    )
    entries, _ = redaction.apply(pack_entry(5, {"message": text}), b"key")
    ((_, record),) = unpack_entries(entries)
    return record["message"] if isinstance(text, str | bytes) else record


@pytest.mark.parametrize(
    ("detector", "text", "expected"),
    [
        ("email", "from ann@shop.example to", "from [email] to"),
        ("email", "<a.b+c_d%e-f@x-1.co.uk>.", "<[email]>."),
        ("email", "a@b.c a@b @b.com a@ ann@localhost", "a@b.c a@b @b.com a@ ann@localhost"),
        ("email", "a@b.com@c.com, x@y.com.", "[email]@c.com, [email]."),
        ("email", f"{'a' * 70}@b.com", f"{'a' * 6}[email]"),
        ("card", "4111111111111111", "[card]"),
        ("card", "pay 4111 1111 1111 1111 now", "pay [card] now"),
        ("card", "5500-0000-0000-0004,", "[card],"),
        ("card", "amex 3782 822463 10005", "amex [card]"),
        ("card", "a 4111 1111 1111 1111 2024 12", "a [card] 2024 12"),
        ("card", "id 12 4111 1111 1111 1111", "id 12 [card]"),
        ("card", "4111111111111112 x4111111111111111 4111111111111111x", ...),
        ("card", "1700000000000000000 00000000000000000000", "1700000000000000000 00000000000000000000"),
        ("iban", "DE89370400440532013000", "[iban]"),
        ("iban", "to GB82 WEST 1234 5698 7654 32 EUR", "to [iban] EUR"),
        ("iban", "BE68 5390 0754 7034 EUR 12", "[iban] EUR 12"),
        ("iban", "DE88370400440532013000 XDE89370400440532013000", ...),
        ("ip", "10.0.0.1:8080 from 192.168.001.255.", "[ip]:8080 from [ip]."),
        ("ip", "1.2.3.256 1.2.3 1.2.3.4.5 v1.2.3.4 1.2.3.4x", "1.2.3.256 1.2.3 1.2.3.4.5 v1.2.3.4 1.2.3.4x"),
        ("ip", "[fe80::1]:80 ::1 2001:DB8:0:0:8:800:200C:417A.", "[[ip]]:80 [ip] [ip]."),
        ("ip", "::ffff:10.0.0.1 client:fe80::1%eth0", "[ip] client:[ip]%eth0"),
        ("ip", "at 12:00:00 aa:bb:cc:dd:ee:ff std::string", "at 12:00:00 aa:bb:cc:dd:ee:ff std::string"),
        ("jwt", f"t={JWT};", "t=[jwt];"),
        ("jwt", "eyJhbGciOiJIUzI1NiJ9 eyJhbGciOiJIUzI1NiJ9.x", "eyJhbGciOiJIUzI1NiJ9 eyJhbGciOiJIUzI1NiJ9.x"),
        ("bearer", "Authorization: Bearer abcdefghijklmnop==", "Authorization: Bearer [bearer]"),
        ("bearer", 'BEARER="0123456789abcdef"', 'BEARER="[bearer]"'),
        ("bearer", "bearer bearer bearer abc", "bearer bearer bearer abc"),
        ("aws_key", "AKIAIOSFODNN7EXAMPLE ASIA", "[aws_key] ASIA"),
        ("aws_key", "Secret_Access_Key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
         "Secret_Access_Key = [aws_key]"),
        ("private_key", f"a\n{KEY}\nb", "a\n[private_key]\nb"),
        ("private_key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nabc", "[private_key]"),
        ("private_key", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"),
    ],
)  # fmt: skip
def test_what_the_detectors_find(engine: Engine, detector: str, text: str, expected: Any) -> None:
    """``...`` stands for the text as it was."""
    assert hidden(engine, text, detector) == (text if expected is ... else expected)


def test_overlapping_finds_are_hidden_at_once(engine: Engine) -> None:
    """Under the name of what begins first."""
    assert hidden(engine, f"Bearer {JWT}", "jwt", "bearer") == "Bearer [jwt]"
    assert hidden(engine, f"Bearer x{JWT}", "jwt", "bearer") == "Bearer [bearer]"


def test_actions(engine: Engine) -> None:
    """The hash is the same for the same text and key, and depends on both."""
    assert hidden(engine, "a b@c.de d", "email", action="remove") == "a  d"
    assert hidden(engine, "b@c.de", "email", action="hash") == "[email:298dc848cdb4ee4e]"


def test_own_patterns_see_what_the_detectors_left(engine: Engine) -> None:
    own = [OwnPattern("id", "C-[0-9]+|email", in_pieces=False), OwnPattern("any", "x*", in_pieces=False)]
    assert hidden(engine, "C-12 a@b.de xxé C-", "email", own=own) == "[id] [[id]] [any]é C-"


def test_own_patterns_that_may_be_slow_are_searched_in_pieces(engine: Engine) -> None:
    """Which end between words."""
    own = [OwnPattern("token", r"token=\S+", in_pieces=True)]
    text = "é" * 3000 + " " + "token=abc " * 2000
    assert hidden(engine, text, own=own) == "é" * 3000 + " " + "[token] " * 2000


def test_which_texts_are_looked_at(engine: Engine) -> None:
    """All, nested ones too, or those of some fields; names of fields if that is asked for."""
    mail = "a@b.de"
    record = {"m": mail, "n": [mail, {"o": mail, mail: 1}], "b": mail.encode(), "i": 5, "h.x": mail}

    def of(**options: Any) -> Any:
        redaction = engine.redaction(
            ["email"], [], options.get("fields"), "mask", keys=options.get("keys", False)
        )
        entries, (count,) = redaction.apply(pack_entry(5, record), b"")
        ((_, changed),) = unpack_entries(entries)
        return changed, count

    mask = "[email]"
    assert of() == ({"m": mask, "n": [mask, {"o": mask, mail: 1}], "b": b"[email]", "i": 5, "h.x": mask}, 5)
    assert of(fields=["n[*].o", "h.*"]) == ({**record, "n": [mail, {"o": mask, mail: 1}], "h.x": mask}, 2)
    assert of(fields=["n"], keys=True) == ({**record, "n": [mask, {"o": mask, mask: 1}]}, 3)


def test_entries_without_a_find_are_not_copied(engine: Engine) -> None:
    entries = pack_entry(5, {"message": "nothing", "b": b"\xff"}) * 3
    redaction = engine.redaction(list(DETECTORS), [], None, "mask", keys=False)
    assert redaction.apply(entries, b"") == (entries, [0] * len(DETECTORS))
    assert redaction.apply(entries, b"")[0] is entries


def test_text_that_is_not_utf8_stays_so_around_a_find(engine: Engine) -> None:
    record = msgpack.packb({"m": b"\xff4111111111111111\xfe"}, use_bin_type=False)
    entry = pack_entry(5, {})[:-1] + record
    entries, _ = engine.redaction(["card"], [], None, "mask", keys=False).apply(entry, b"")
    assert entries == pack_entry(5, {})[:-1] + msgpack.packb({"m": b"\xff[card]\xfe"}, use_bin_type=False)


HOSTILE = [
    "@", "a@", "a@a.", "a.@b-", "4", "4444 ", "4111-1111-1111-1112 ",
    "DE89 ", "AA00", "1.", ":", "1:", "f:.",
    "::1 ", "eyJ", "eyJaaaaaaaaaa.", "bearer ", "bearer=", "Bearer abcdefghijklmno ", "AKIA",
    "secret_access_key=", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("part", HOSTILE)
def test_hostile_text_takes_linear_time(part: str) -> None:
    """Ten times the text takes about ten times as long, not a hundred times."""
    engine = both_engines()[-1]
    redaction = engine.redaction(list(DETECTORS), [], None, "mask", keys=False)

    def seconds(size: int) -> float:
        entry = pack_entry(5, {"m": part * (size // len(part))})
        start = time.process_time()
        redaction.apply(entry, b"")
        return time.process_time() - start

    assert seconds(2_000_000) < 60 * max(seconds(200_000), 0.005)


_parts = st.sampled_from(
    [*HOSTILE, "ann@shop.example", "4111 1111 1111 1111", "3782 822463 10005", "DE89370400440532013000",
     "GB82 WEST 1234 5698 7654 32", "10.0.0.1", "fe80::1", "::ffff:1.2.3.4", "2001:db8::", JWT, KEY, "C-12",
     "Bearer 0123456789abcdef", "AKIAIOSFODNN7EXAMPLE", "secret access key: " + "a" * 40,
     "-----END PRIVATE KEY-----", " ", "-", ".", ":", "x", "é", "=", "\n", "4", "A", "00"]
)  # fmt: skip
_texts = st.lists(_parts, max_size=8).map("".join)
_damaged = st.tuples(_texts, st.integers(0, 60), st.integers(1, 3)).map(
    lambda made: made[0][: made[1]] + made[0][made[1] + made[2] :]
)
_keys = st.sampled_from(["m", "n", "a.b"]) | _texts
_values = st.recursive(
    _texts | _damaged | st.binary(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60 * int(os.environ.get("LOGFLOW_PARITY", "1")))
@given(
    records=st.lists(st.dictionaries(_keys, _values, max_size=4), max_size=3),
    odd=canonical_entries(),
    fields=st.none() | st.lists(st.sampled_from(["m", "n.*", "**.m", "a.b", "n[*]"]), min_size=1, max_size=2),
    action=st.sampled_from(["mask", "hash", "remove"]),
    keys=st.booleans(),
    slow=st.booleans(),
)
def test_the_engines_agree_on_any_text(
    records: list[Any], odd: bytes, fields: Any, action: Any, keys: bool, slow: bool
) -> None:
    entries = b"".join(pack_entry(1, record) for record in records) + odd
    own = [OwnPattern("id", "C-[0-9]+|[a-z]?é", slow)]
    results = [
        engine.redaction(list(DETECTORS), own, fields, action, keys=keys).apply(entries, b"k")
        for engine in both_engines()
    ]
    assert results[0] == results[-1]
