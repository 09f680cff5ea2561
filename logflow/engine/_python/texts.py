"""Packing of texts that need not be UTF-8."""

from __future__ import annotations


def pack_str(text: bytes) -> bytes:
    """Pack bytes as a str, with the shortest head."""
    size = len(text)
    if size < 32:
        return bytes((0xA0 | size,)) + text
    if size < 256:
        return b"\xd9" + bytes((size,)) + text
    return (b"\xda" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xdb" + size.to_bytes(4, "big")) + text


def pack_bin(text: bytes) -> bytes:
    """Pack bytes as a bin, with the shortest head."""
    size = len(text)
    if size < 256:
        return b"\xc4" + bytes((size,)) + text
    return (b"\xc5" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xc6" + size.to_bytes(4, "big")) + text
