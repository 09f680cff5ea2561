//! Finding the end of a run of plain string bytes, sixteen at a time.
//!
//! The loops over sixteen bytes are written so that the compiler makes vector instructions of them.

/// What a step of sixteen bytes found: the bytes that are 0xff.
#[derive(Clone, Copy)]
struct Marks(u128);

impl Marks {
    /// Position of the first.
    #[inline(always)]
    fn first(self) -> Option<usize> {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        if low != 0 {
            Some(low.trailing_zeros() as usize / 8)
        } else if high != 0 {
            Some(8 + high.trailing_zeros() as usize / 8)
        } else {
            None
        }
    }
}

#[inline(always)]
fn specials(chunk: &[u8; 16]) -> Marks {
    let mut marks = [0; 16];
    for i in 0..16 {
        marks[i] = if is_special(chunk[i]) { 0xff } else { 0 };
    }
    Marks(u128::from_le_bytes(marks))
}

/// A quote, a backslash or a control character.
#[inline(always)]
pub fn is_special(b: u8) -> bool {
    (b < 0x20) | (b == b'"') | (b == b'\\')
}

#[inline(always)]
fn chunk_at(src: &[u8], at: usize) -> Option<&[u8; 16]> {
    src.get(at..)?.first_chunk()
}

/// Position of the first quote, backslash or control character in `src` from `at` on, or its length.
#[inline(always)]
pub fn string_end(src: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = chunk_at(src, at) {
        if let Some(n) = specials(chunk).first() {
            return at + n;
        }
        at += 16;
    }
    while at < src.len() && !is_special(src[at]) {
        at += 1;
    }
    at
}

/// What `plain_run` found.
pub struct Run {
    /// Position of the first quote, backslash or control character, or the end.
    pub end: usize,
    /// Whether there is a byte above 0x7f before `end`, or a little after it.
    pub high: bool,
}

/// Find the first special byte of `src[at..end]`.
#[inline(always)]
pub fn plain_run(src: &[u8], mut at: usize, end: usize) -> Run {
    let mut high = false;
    while at < end {
        let Some(chunk) = chunk_at(src, at) else {
            return plain_tail(src, at, end, high);
        };
        high |= has_high(chunk);
        if let Some(n) = specials(chunk).first() {
            return Run { end: (at + n).min(end), high };
        }
        at += 16;
    }
    Run { end, high }
}

#[inline(always)]
fn has_high(chunk: &[u8; 16]) -> bool {
    u128::from_le_bytes(*chunk) & (0x8080_8080_8080_8080 << 64 | 0x8080_8080_8080_8080) != 0
}

#[inline(never)]
fn plain_tail(src: &[u8], mut at: usize, end: usize, mut high: bool) -> Run {
    while at < end && !is_special(src[at]) {
        high |= src[at] >= 0x80;
        at += 1;
    }
    Run { end: at, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_special_byte_at_each_place() {
        for special in (0..0x20).chain([b'"', b'\\']) {
            for place in 0..40 {
                let mut text = [b'a'; 41];
                text[place] = special;
                assert_eq!(string_end(&text, 0), place);
                assert_eq!(plain_run(&text, 0, 41).end, place);
                assert_eq!(plain_run(&text, 0, place).end, place);
            }
        }
        assert_eq!(string_end(&[0x20, 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']'], 0), 8);
    }
}
