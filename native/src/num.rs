//! Numbers of JSON: read exactly, written as msgspec writes them.

use crate::out::Out;

/// The text is not JSON, or not what this engine's rules allow of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail;

/// Longest integer, with its sign, that is kept as a string of its digits (Python's limit for reading one).
const MAX_LENGTH: usize = 4300;

/// Integers that become text because they are longer than 64 bits.
#[derive(Default)]
pub struct Long {
    /// Write them as nil instead, to tell them from strings.
    pub mark: bool,
    /// Whether there was one.
    pub seen: bool,
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

#[inline(always)]
fn digit(src: &[u8], at: usize) -> Option<u64> {
    match src.get(at) {
        Some(&b) if b.wrapping_sub(b'0') < 10 => Some(u64::from(b - b'0')),
        _ => None,
    }
}

/// Skip digits, taking them into `value` (which wraps).
#[inline(always)]
fn digits(src: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(d) = digit(src, at) {
        *value = value.wrapping_mul(10).wrapping_add(d);
        at += 1;
    }
    at
}

/// Transcode the JSON number at `at`; returns the position after it.
#[inline]
pub fn transcode(src: &[u8], at: usize, out: &mut Out, long: &mut Long) -> Result<usize, Fail> {
    let negative = src[at] == b'-';
    let start = at + usize::from(negative);
    let mut value = 0;
    let end = digits(src, start, &mut value);
    let count = end - start;
    if count == 0 || (count > 1 && src[start] == b'0') {
        return Err(Fail);
    }
    match src.get(end) {
        Some(b'.' | b'e' | b'E') => float(src, at, end, value, out),
        _ if count <= 18 => {
            out.int(if negative { -(value as i64) } else { value as i64 });
            Ok(end)
        }
        _ => long_integer(&src[at..end], out, long).map(|()| end),
    }
}

#[cold]
fn long_integer(text: &[u8], out: &mut Out, long: &mut Long) -> Result<(), Fail> {
    let digits = std::str::from_utf8(text).expect("digits are ASCII");
    if let Ok(value) = digits.parse::<u64>() {
        out.uint(value);
    } else if let Ok(value) = digits.parse::<i64>() {
        out.int(value);
    } else if text.len() > MAX_LENGTH {
        return Err(Fail);
    } else {
        long.seen = true;
        if long.mark {
            out.nil();
        } else {
            out.str(text);
        }
    }
    Ok(())
}

/// A number with a fraction or an exponent; `mantissa` holds the digits up to `at`.
#[inline]
fn float(src: &[u8], start: usize, mut at: usize, mut mantissa: u64, out: &mut Out) -> Result<usize, Fail> {
    let whole = at;
    let mut scale = 0;
    if src[at] == b'.' {
        let from = at + 1;
        at = digits(src, from, &mut mantissa);
        scale = at - from;
        if scale == 0 {
            return Err(Fail);
        }
    }
    let plain = !matches!(src.get(at), Some(b'e' | b'E'));
    // Exact by one division (Clinger): both operands are exact float64.
    if plain && whole - start + scale <= 16 && mantissa < 1 << 53 {
        let value = mantissa as f64 / POWERS[scale];
        out.float(if src[start] == b'-' { -value } else { value });
        return Ok(at);
    }
    if !plain {
        at += 1;
        at += usize::from(matches!(src.get(at), Some(b'+' | b'-')));
        digit(src, at).ok_or(Fail)?;
        at = digits(src, at, &mut 0);
    }
    let value: f64 = fast_float2::parse(&src[start..at]).map_err(|_| Fail)?;
    if value.is_infinite() {
        return Err(Fail);
    }
    out.float(value);
    Ok(at)
}
