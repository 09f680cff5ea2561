"""Stores that take what they are sent and forget it: receivers of the protocols of other people's stores.

Each answers as its store does to a request that it takes as a whole. What they got is written as ``"num":N``,
a line for each event, so that what was lost or doubled is told in one way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat

_TEXT = re.compile(rb'\\?"num\\?":\s?(\d+)')
_OTLP = b"\x0a\x03num\x12"


@dataclass(frozen=True)
class Protocol:
    """How a store takes events.

    Attributes:
        status: of its answers.
        answer: the body of an answer to so many events.
        decode: what was sent, without its compression.
        numbers: of the events in a request.
    """

    status: int
    answer: Callable[[int], bytes]
    decode: Callable[[bytes], bytes]
    numbers: Callable[[bytes], list[bytes]]


def _bulk(events: int) -> bytes:
    items = b",".join(repeat(b'{"create":{"_id":"a","status":201}}', events))
    return b'{"took":1,"errors":false,"items":[' + items + b"]}"


def _unsnap(body: bytes) -> bytes:
    if body.startswith(b"{"):  # it came as JSON
        return body
    import cramjam

    return bytes(cramjam.snappy.decompress_raw(body))


def _otlp_numbers(body: bytes) -> list[bytes]:
    found = []
    for part in body.split(_OTLP)[1:]:
        number, shift = 0, 0
        for byte in part[2:12]:  # behind the length of the value, and the key of an integer
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(b"%d" % number)
    return found


def _same(body: bytes) -> bytes:
    return body


PROTOCOLS: dict[str, Protocol] = {
    "elasticsearch": Protocol(200, _bulk, _same, _TEXT.findall),
    "loki": Protocol(204, lambda _: b"", _unsnap, _TEXT.findall),
    "otlp": Protocol(200, lambda _: b"", _same, _otlp_numbers),
    "splunk_hec": Protocol(200, lambda _: b'{"text":"Success","code":0}', _same, _TEXT.findall),
    "s3": Protocol(200, lambda _: b"", _same, _TEXT.findall),
}
