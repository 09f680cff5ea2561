//! Times: RFC 3339 as containers' logs have it, and the date arithmetic that all formats share.

use crate::num::eight_digits;
use crate::out::{MAX_TIME_NS, Out};

pub const NANOSECOND: i128 = 1_000_000_000;

/// The time, if an entry can hold it.
#[inline]
pub fn in_range(time_ns: i128) -> Option<u64> {
    if (0..=MAX_TIME_NS).contains(&time_ns) { Some(time_ns as u64) } else { None }
}

/// Days since 1970-01-01 of a date, or `None` when no calendar has it. Years are 1 to 9999.
pub fn days(year: u32, month: u32, day: u32) -> Option<i64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=9999).contains(&year) || day < 1 || day > longest {
        return None;
    }
    // Counted from 1 March of year 0, so that a leap day is the last of its year (Hinnant, days_from_civil).
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (y / 400, y % 400);
    let of_year = (153 * m + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(i64::from(era) * 146_097 + i64::from(of_era) - 719_468)
}

/// Year, month and day of a number of days since 1970-01-01, which is not negative (Hinnant, civil_from_days).
pub fn date(days: u32) -> (u32, u32, u32) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let y = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * y + y / 4 - y / 100);
    let m = (5 * of_year + 2) / 153;
    let day = of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    (y + era * 400 + u32::from(month <= 2), month, day)
}

/// Two decimal digits.
#[inline(always)]
pub fn two(text: &[u8], at: usize) -> Option<u32> {
    let (a, b) = (text.get(at)?.wrapping_sub(b'0'), text.get(at + 1)?.wrapping_sub(b'0'));
    if a < 10 && b < 10 { Some(u32::from(a) * 10 + u32::from(b)) } else { None }
}

/// Nanoseconds of the digits after a point, of which those beyond the ninth are ignored.
#[inline]
pub fn fraction_ns(digits: &[u8]) -> u64 {
    let mut value = 0;
    for i in 0..9 {
        value = value * 10 + digits.get(i).map_or(0, |b| u64::from(b - b'0'));
    }
    value
}

/// How many digits stand at `at`.
#[inline]
pub fn count_digits(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Reads times one after another; remembers the minute of the last, as most lines share it.
pub struct Rfc3339 {
    prefix: [u8; 16],
    minute_s: i64,
}

impl Default for Rfc3339 {
    fn default() -> Self {
        Self { prefix: *b"1970-01-01T00:00", minute_s: 0 }
    }
}

impl Rfc3339 {
    /// Read `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)` at the start of `text`: the time and its length.
    #[inline]
    pub fn read(&mut self, text: &[u8]) -> Option<(u64, usize)> {
        let prefix: &[u8; 16] = text.first_chunk()?;
        if *prefix != self.prefix {
            self.minute_s = minute(prefix)?;
            self.prefix = *prefix;
        }
        if *text.get(16)? != b':' {
            return None;
        }
        let second = two(text, 17).filter(|&s| s < 60)?;
        let mut at = 19;
        let mut nanoseconds = 0;
        if *text.get(at)? == b'.' {
            let n = count_digits(text, at + 1);
            if n == 0 {
                return None;
            }
            nanoseconds = fraction_ns(&text[at + 1..at + 1 + n]);
            at += 1 + n;
        }
        let mut seconds = self.minute_s + i64::from(second);
        match *text.get(at)? {
            b'Z' => at += 1,
            sign @ (b'+' | b'-') => {
                let hours = two(text, at + 1).filter(|&h| h < 24)?;
                let minutes = two(text, at + 4).filter(|&m| m < 60 && text[at + 3] == b':')?;
                let offset = i64::from(hours * 3600 + minutes * 60);
                seconds += if sign == b'-' { offset } else { -offset };
                at += 6;
            }
            _ => return None,
        }
        let time_ns = in_range(i128::from(seconds) * NANOSECOND + i128::from(nanoseconds))?;
        Some((time_ns, at))
    }
}

/// Seconds since the epoch of `YYYY-MM-DDTHH:MM`.
#[cold]
fn minute(text: &[u8; 16]) -> Option<i64> {
    if (text[4], text[7], text[10], text[13]) != (b'-', b'-', b'T', b':') {
        return None;
    }
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let days = days(year, two(text, 5)?, two(text, 8)?)?;
    let (hour, minute) = (two(text, 11)?, two(text, 14)?);
    if hour > 23 || minute > 59 {
        return None;
    }
    Some(days * 86_400 + i64::from(hour * 3600 + minute * 60))
}

/// Writes times one after another as `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`; remembers the last second.
pub struct Formatter {
    second: u64,
    /// All up to the point, padded.
    text: [u8; 32],
}

/// Bytes of a time up to its point, that one included.
const BEFORE_FRACTION: usize = 20;

impl Default for Formatter {
    fn default() -> Self {
        let mut text = [0; 32];
        text[..BEFORE_FRACTION].copy_from_slice(b"1970-01-01T00:00:00.");
        Self { second: 0, text }
    }
}

fn put_two(text: &mut [u8], at: usize, value: u32) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

impl Formatter {
    /// Write a time; there are less than 10**9 nanoseconds.
    #[inline]
    pub fn write(&mut self, seconds: u64, nanoseconds: u32, out: &mut Out) {
        if seconds != self.second {
            self.set_second(seconds);
        }
        // Digits go straight to the output: bytes that were just written one by one are slow to read at once.
        out.put_padded(&self.text, BEFORE_FRACTION);
        out.push(b'0' + (nanoseconds / 100_000_000) as u8);
        out.put(eight_digits(nanoseconds % 100_000_000));
        out.push(b'Z');
    }

    #[cold]
    fn set_second(&mut self, seconds: u64) {
        let (year, month, day) = date((seconds / 86_400) as u32);
        let of_day = (seconds % 86_400) as u32;
        let text = &mut self.text;
        put_two(text, 0, year / 100);
        put_two(text, 2, year % 100);
        put_two(text, 5, month);
        put_two(text, 8, day);
        put_two(text, 11, of_day / 3600);
        put_two(text, 14, of_day / 60 % 60);
        put_two(text, 17, of_day % 60);
        self.second = seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_inverse() {
        for day in 0..50_000 {
            let (y, m, d) = date(day);
            assert_eq!(days(y, m, d), Some(i64::from(day)));
        }
        assert_eq!(days(2024, 2, 29), Some(19_782));
        assert_eq!(days(2023, 2, 29), None);
        assert_eq!(days(0, 1, 1), None);
        assert_eq!(days(1, 1, 1), Some(-719_162));
    }

    #[test]
    fn reads_and_writes_the_same_time() {
        let text = b"2026-01-31T23:59:59.123456789Z";
        let (time_ns, n) = Rfc3339::default().read(text).unwrap();
        assert_eq!(n, 30);
        let mut formatter = Formatter::default();
        let parts = (time_ns / 1_000_000_000, (time_ns % 1_000_000_000) as u32);
        let mut out = Out::default();
        formatter.write(parts.0, parts.1, &mut out);
        assert_eq!(out.as_slice(), text);
    }
}
