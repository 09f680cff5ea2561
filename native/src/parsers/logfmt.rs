//! `level=info msg="it \"works\"" cached`; see `logflow.parsers.logfmt`.

use memchr::memchr2;

use super::Fields;
use crate::num::Fail;

fn is_blank(b: u8) -> bool {
    b <= b' '
}

/// Position of the first byte from `at` on for which `stop` holds, or the length.
fn until(text: &[u8], at: usize, stop: impl Fn(u8) -> bool) -> usize {
    text[at..].iter().position(|&b| stop(b)).map_or(text.len(), |n| at + n)
}

pub fn parse(text: &[u8], fields: &mut Fields<'_>) -> Result<(), Fail> {
    let mut found = false;
    let mut at = until(text, 0, |b| !is_blank(b));
    while at < text.len() {
        let end = until(text, at, |b| is_blank(b) || b == b'"' || b == b'=');
        let key = &text[at..end];
        if key.is_empty() {
            return Err(Fail);
        }
        at = if text.get(end) != Some(&b'=') {
            fields.yes(key);
            end
        } else if text.get(end + 1) == Some(&b'"') {
            found = true;
            quoted(text, end + 2, key, fields)?
        } else {
            found = true;
            let stop = until(text, end + 1, is_blank);
            fields.text(key, &text[end + 1..stop]);
            stop
        };
        if text.get(at).is_some_and(|&b| !is_blank(b)) {
            return Err(Fail);
        }
        at = until(text, at, |b| !is_blank(b));
    }
    if found { Ok(()) } else { Err(Fail) }
}

/// Write the quoted value that begins at `start`; returns the position after its closing quote.
fn quoted(text: &[u8], start: usize, key: &[u8], fields: &mut Fields<'_>) -> Result<usize, Fail> {
    let mut at = start;
    let mut escapes = false;
    loop {
        at += memchr2(b'"', b'\\', &text[at..]).ok_or(Fail)?;
        if text[at] == b'"' {
            break;
        }
        escapes = true;
        // The rest of a longer character has neither quote nor backslash in it.
        at += 2;
        if at > text.len() {
            return Err(Fail);
        }
    }
    if escapes {
        fields.text(key, &unescape(&text[start..at]));
    } else {
        fields.text(key, &text[start..at]);
    }
    Ok(at + 1)
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(n) = memchr::memchr(b'\\', &text[at..]) {
        plain.extend_from_slice(&text[at..at + n]);
        at += n;
        let simple = match text[at + 1] {
            b @ (b'"' | b'\\' | b'/') => Some(b),
            b'b' => Some(8),
            b'f' => Some(12),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            _ => None,
        };
        if let Some(b) = simple {
            plain.push(b);
            at += 2;
        } else if let Some((c, next)) = unicode(text, at) {
            plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            at = next;
        } else {
            // It stands for itself, and so does the byte after it.
            plain.extend_from_slice(&text[at..at + 2]);
            at += 2;
        }
    }
    plain.extend_from_slice(&text[at..]);
    plain
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    if *text.get(at)? != b'\\' || *text.get(at + 1)? != b'u' {
        return None;
    }
    let digits = text.get(at + 2..at + 6)?;
    digits.iter().try_fold(0, |value, &b| Some(value << 4 | char::from(b).to_digit(16)?))
}

/// Read `\uNNNN`, or two of them that are a surrogate pair, at `at`.
fn unicode(text: &[u8], at: usize) -> Option<(char, usize)> {
    let code = hex4(text, at)?;
    if let (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) = (code, hex4(text, at + 6)) {
        let c = char::from_u32(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00))?;
        return Some((c, at + 12));
    }
    char::from_u32(code).map(|c| (c, at + 6))
}
