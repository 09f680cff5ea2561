//! Bytes that JSON strings treat specially, sixteen at a time.

/// One bit for each of sixteen bytes.
#[derive(Clone, Copy)]
struct Marks {
    /// A quote, a backslash or a control character.
    special: u32,
    /// A byte above 0x7f.
    high: u32,
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[allow(unsafe_code)]
#[inline(always)]
fn marks(chunk: &[u8; 16]) -> Marks {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let words = u128::from_le_bytes(*chunk);
    // SAFETY: all that these functions ask for is a processor with SSE2. This is compiled only for targets where all
    // code may use SSE2, as the condition above says. None of them touches memory.
    unsafe {
        let bytes = _mm_set_epi64x((words >> 64) as i64, words as i64);
        let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let limit = _mm_set1_epi8(0x1f);
        let controls = _mm_cmpeq_epi8(_mm_max_epu8(bytes, limit), limit);
        let special = _mm_or_si128(_mm_or_si128(quotes, backslashes), controls);
        Marks { special: _mm_movemask_epi8(special) as u32, high: _mm_movemask_epi8(bytes) as u32 }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline(always)]
fn marks(chunk: &[u8; 16]) -> Marks {
    let mut found = Marks { special: 0, high: 0 };
    for (i, &b) in chunk.iter().enumerate() {
        found.special |= u32::from(is_special(b)) << i;
        found.high |= u32::from(b >> 7) << i;
    }
    found
}

/// A quote, a backslash or a control character.
#[inline(always)]
pub fn is_special(b: u8) -> bool {
    b < 0x20 || b == b'"' || b == b'\\'
}

/// Position of the first quote, backslash or control character in `src` from `at` on, or its length.
#[inline(always)]
pub fn string_end(src: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = src.get(at..).and_then(|rest| rest.first_chunk()) {
        let special = marks(chunk).special;
        if special != 0 {
            return at + special.trailing_zeros() as usize;
        }
        at += 16;
    }
    while at < src.len() && !is_special(src[at]) {
        at += 1;
    }
    at
}

/// Whether the first `n` of 32 bytes are ASCII and need no escape in a JSON string.
#[inline(always)]
pub fn is_plain(chunk: &[u8; 32], n: usize) -> bool {
    let (halves, _) = chunk.as_chunks();
    let (low, high) = (marks(&halves[0]), marks(&halves[1]));
    let bad = u64::from((low.special | low.high) | (high.special | high.high) << 16);
    bad & ((1 << n) - 1) == 0
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
                let chunk = text.first_chunk().expect("32 bytes");
                for n in 0..=32 {
                    assert_eq!(is_plain(chunk, n), n <= place);
                }
            }
        }
    }

    #[test]
    fn finds_nothing_else() {
        for plain in (0x20..=0xff).filter(|b| !b"\"\\".contains(b)) {
            assert_eq!(string_end(&[plain; 40], 0), 40);
            assert_eq!(is_plain(&[plain; 32], 32), plain < 0x80);
        }
    }
}
