//! The one rule for text: what is not UTF-8 becomes `\xNN`, byte by byte.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789abcdef";

#[inline]
pub fn is_utf8(data: &[u8]) -> bool {
    simdutf8::basic::from_utf8(data).is_ok()
}

/// Append `data`, every invalid byte escaped; `backslash` is what stands for one.
fn escape_into(data: &[u8], backslash: &[u8], to: &mut Vec<u8>) {
    for chunk in data.utf8_chunks() {
        to.extend_from_slice(chunk.valid().as_bytes());
        for &b in chunk.invalid() {
            to.extend_from_slice(backslash);
            to.extend_from_slice(&[b'x', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}

/// The text of bytes that are not all UTF-8.
pub fn escaped(data: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(data.len() + 64);
    escape_into(data, b"\\", &mut to);
    to
}

/// The same inside JSON, where the backslash of the escape is itself escaped.
pub fn escaped_json(data: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(data.len() + 64);
    escape_into(data, b"\\\\", &mut to);
    to
}

/// `data` as text, copied only where it has to be changed.
#[inline]
pub fn to_text(data: &[u8]) -> Cow<'_, [u8]> {
    if is_utf8(data) { data.into() } else { escaped(data).into() }
}

/// What follows a copied message, so that the transcoder may look ahead of its end: a newline, then padding.
pub const SENTINEL: [u8; 64] = {
    let mut bytes = [0; 64];
    bytes[0] = b'\n';
    bytes
};

/// Text of a message: a part of something larger.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// What follows `end` in it, if anything, is a carriage return or a newline.
    pub src: &'a [u8],
    pub start: usize,
    pub end: usize,
    /// Whether the text is known to be UTF-8.
    pub utf8: bool,
}

impl<'a> Text<'a> {
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.src[self.start..self.end]
    }

    /// The text as UTF-8.
    #[inline]
    pub fn utf8(&self) -> Cow<'a, [u8]> {
        if self.utf8 { self.bytes().into() } else { to_text(self.bytes()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_each_invalid_byte_and_nothing_else() {
        assert_eq!(&*to_text("a\u{e9}".as_bytes()), "a\u{e9}".as_bytes());
        assert_eq!(&*to_text(b"a\xff\xe2\x82b"), b"a\\xff\\xe2\\x82b");
        assert_eq!(&*to_text(b"\xed\xa0\x80"), b"\\xed\\xa0\\x80");
        assert_eq!(escaped_json(b"\"\xff\""), b"\"\\\\xff\"");
    }
}
