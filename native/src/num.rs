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
    while digit(src, at + 7).is_some()
        && let Some(eight) = src.get(at..).and_then(|rest| rest.first_chunk()).and_then(read_eight)
    {
        *value = value.wrapping_mul(100_000_000).wrapping_add(eight);
        at += 8;
    }
    while let Some(d) = digit(src, at) {
        *value = value.wrapping_mul(10).wrapping_add(d);
        at += 1;
    }
    at
}

/// The number that eight bytes are the digits of, if all of them are digits.
#[inline(always)]
fn read_eight(bytes: &[u8; 8]) -> Option<u64> {
    let text = u64::from_le_bytes(*bytes);
    // The upper half of a digit's byte is 3, also after 6 was added to it.
    const HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    if text & HALVES != ZEROS || text.wrapping_add(0x0606_0606_0606_0606) & HALVES != ZEROS {
        return None;
    }
    // Neighbours are put together: digits to twos, these to fours, and these to all eight.
    let twos = ((text ^ ZEROS).wrapping_mul(10) + ((text ^ ZEROS) >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100) + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
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

/// Eight digits, all of them zero.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight decimal digits of a number below 10**8, the first in the lowest byte.
#[inline(always)]
pub fn eight_digits(value: u32) -> [u8; 8] {
    // Split into halves, these into halves, and these into digits; each division is a multiplication and a
    // shift that is exact in its range, done in all lanes at once.
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | (twos - tens * 10) << 8;
    (ones | ZEROS).to_le_bytes()
}

/// Write an integer as its digits.
#[inline(always)]
pub fn write_integer(value: u64, out: &mut Out) {
    if value >= 100_000_000 {
        return out.extend_number(itoa::Buffer::new().format(value).as_bytes());
    }
    let digits = u64::from_le_bytes(eight_digits(value as u32));
    // Zeros at the beginning are the lowest bytes; the last digit is written whatever it is.
    let zeros = ((digits ^ ZEROS).trailing_zeros() / 8).min(7);
    out.put_first((digits >> (8 * zeros)).to_le_bytes(), 8 - zeros as usize);
}

/// Places after the point that a short decimal has at most.
const PLACES: f64 = 1e6;

/// A float that is the nearest to a decimal of few digits, as durations and shares are.
#[derive(Clone, Copy)]
pub struct ShortDecimal {
    negative: bool,
    millionths: u64,
}

/// The shortest decimal that reads back as `value`, if it has at most six places and is neither large nor tiny.
///
/// `n / 10**6` is correctly rounded, as both are exact: where it gives the value, the decimal reads back as it. No
/// other decimal of up to 15 digits does, as doubles tell those apart; so without zeros at its end it is the shortest.
#[inline(always)]
pub fn short_decimal(value: f64) -> Option<ShortDecimal> {
    let magnitude = value.abs();
    if !(1e-3..1e8).contains(&magnitude) {
        return None;
    }
    let millionths = (magnitude * PLACES + 0.5) as u64;
    (millionths as f64 / PLACES == magnitude).then_some(ShortDecimal { negative: value < 0.0, millionths })
}

impl ShortDecimal {
    #[inline(always)]
    pub fn write(self, out: &mut Out) {
        if self.negative {
            out.push(b'-');
        }
        write_integer(self.millionths / 1_000_000, out);
        let digits = u64::from_le_bytes(eight_digits((self.millionths % 1_000_000) as u32 * 100));
        // Zeros at the end are the highest bytes; the first digit is written whatever it is.
        let zeros = ((digits ^ ZEROS).leading_zeros() / 8).min(7);
        out.push(b'.');
        out.put_first(digits.to_le_bytes(), 8 - zeros as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &str) -> Option<Vec<u8>> {
        let mut out = Out::default();
        let end = transcode(text.as_bytes(), 0, &mut out, &mut Long::default()).ok()?;
        (end == text.len()).then(|| out.into_vec())
    }

    #[test]
    fn writes_all_digits() {
        for value in (0..10_000).chain((0..100_000_000).step_by(9_973)).chain([99_999_999]) {
            assert_eq!(eight_digits(value), *format!("{value:08}").as_bytes());
        }
    }

    #[test]
    fn reads_eight_digits() {
        for value in (0..100_000_000).step_by(9_973).chain([0, 9, 90_000_000, 99_999_999]) {
            assert_eq!(read_eight(&eight_digits(value)), Some(u64::from(value)));
        }
        for place in 0..8 {
            for other in (0..=255).filter(|b: &u8| !b.is_ascii_digit()) {
                let mut bytes = *b"12345678";
                bytes[place] = other;
                assert_eq!(read_eight(&bytes), None);
            }
        }
    }

    #[test]
    fn integers_have_the_shortest_form() {
        for value in [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut out = Out::default();
            out.uint(value);
            assert_eq!(packed(&value.to_string()), Some(out.into_vec()));
        }
        assert_eq!(packed("-0"), Some(vec![0]));
        assert_eq!(packed("-32"), Some(vec![0xe0]));
        assert_eq!(packed("-33"), Some(vec![0xd0, 0xdf]));
        assert_eq!(packed("18446744073709551616"), Some(b"\xb418446744073709551616".to_vec()));
    }

    #[test]
    fn short_decimals_are_what_the_library_writes() {
        let written = |value: f64| {
            let mut out = Out::default();
            short_decimal(value)?.write(&mut out);
            Some(String::from_utf8(out.into_vec()).expect("ASCII"))
        };
        let mut state = 1_u64;
        let mut short = 0;
        for places in 0..10 {
            for _ in 0..20_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let digits = (state >> 33) % 10_u64.pow(1 + (state >> 60) as u32 % 9);
                let value = digits as f64 / 10_f64.powi(places);
                for value in [value, -value, value.next_up(), value.next_down()] {
                    if let Some(text) = written(value) {
                        assert_eq!(text, zmij::Buffer::new().format_finite(value));
                        short += 1;
                    }
                }
            }
        }
        assert!(short > 100_000);
        for value in [0.0, -0.0, 1e-4, 1e8, 0.123_456_7, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE]
        {
            assert_eq!(written(value), None);
        }
    }

    #[test]
    fn floats_are_the_nearest() {
        for text in
            ["0.1", "-0.0", "1e23", "5e-324", "123456789012345678901234567890.5", "9007199254740993.0", "1E5"]
        {
            let value: f64 = text.parse().expect("a number");
            assert_eq!(packed(text), Some([&[0xcb], &value.to_be_bytes()[..]].concat()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["-", "01", "1.", "1e", "1e+", "1e309", ".5", "+1", "1.e5"] {
            assert_eq!(packed(text), None, "{text}");
        }
    }
}
