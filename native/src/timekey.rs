//! The field that holds an event's time, and how it is written; see `logflow.timestamps`.

use crate::keys::{Object, Seen};
use crate::mp::{self, Value};

use crate::out::Out;
use crate::parsers::Work;
use crate::pattern::Pattern;
use crate::regexes::Scratch;
use crate::time::{NANOSECOND, count_digits, days, fraction_ns, in_range, two};

/// Bit of the time's key among those that are watched for.
const TIME: Seen = 8;

/// Longest text, in characters, that is looked at.
const MAX_TIME_TEXT: usize = 100;

/// How a time is written.
pub enum TimeReader {
    /// A number; so many decimal places make it nanoseconds.
    Unix(u32),
    /// `iso8601`; the offset, in seconds, of times without one.
    Iso(i64),
    /// A pattern of directives, as a regular expression.
    Pattern(Box<Pattern>, i64),
}

/// The field that holds the time.
pub struct TimeKey {
    pub key: Vec<u8>,
    pub keep: bool,
    pub reader: TimeReader,
}

/// What reading times uses again: lines of the same second often have the same text.
#[derive(Default)]
pub struct Times {
    scratch: Option<Scratch>,
    text: Vec<u8>,
    time_ns: Option<u64>,
}

impl TimeKey {
    /// Read the time of a record and remove its field, unless it is to be kept or is no time.
    #[inline]
    pub fn take(&self, work: &mut Work, out: &mut Out, object: &mut Object) -> Option<u64> {
        if object.seen & TIME == 0 {
            return None;
        }
        let (start, value, end) = object.find(out, &self.key)?;
        let (value, _) = mp::read(out.as_slice(), value).ok()?;
        let time_ns = self.reader.read(value, &mut work.times)?;
        if !self.keep {
            out.close_gap(start, end - start);
            object.count -= 1;
            object.seen &= !work.watched.find(&self.key);
        }
        Some(time_ns)
    }
}

impl TimeReader {
    pub fn read(&self, value: Value<'_>, times: &mut Times) -> Option<u64> {
        match self {
            Self::Unix(digits) => read_unix(value, *digits),
            Self::Iso(offset_s) => read_iso(text_of(value)?, *offset_s),
            Self::Pattern(pattern, offset_s) => {
                let text = text_of(value)?;
                if text != times.text || text.is_empty() {
                    let scratch = times.scratch.get_or_insert_with(|| pattern.scratch());
                    times.time_ns = pattern.read(scratch, text, *offset_s);
                    times.text.clear();
                    times.text.extend_from_slice(text);
                }
                times.time_ns
            }
        }
    }
}

fn text_of(value: Value<'_>) -> Option<&[u8]> {
    let Value::Str(text) = value else { return None };
    let short = text.len() <= MAX_TIME_TEXT
        || (text.len() <= 4 * MAX_TIME_TEXT
            && std::str::from_utf8(text).ok()?.chars().count() <= MAX_TIME_TEXT);
    short.then_some(text)
}

fn read_unix(value: Value<'_>, digits: u32) -> Option<u64> {
    let scale = 10_i128.pow(digits);
    match value {
        Value::UInt(value) => in_range(i128::from(value) * scale),
        Value::Int(value) => in_range(i128::from(value) * scale),
        Value::F64(value) if value.abs() < 1e20 => in_range(scaled(value, digits)),
        Value::Str(_) => read_decimal(text_of(value)?, digits as usize),
        _ => None,
    }
}

/// A float's shortest decimal form, times 10**digits, without what is left after the point.
pub fn scaled(value: f64, digits: u32) -> i128 {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().expect("written as a number");
    let coefficient: i128 = format!("{whole}{fraction}").parse().expect("at most 17 digits");
    let power = exponent - fraction.len() as i32 + digits as i32;
    if power >= 0 {
        coefficient.saturating_mul(10_i128.saturating_pow(power as u32))
    } else {
        coefficient / 10_i128.checked_pow(power.unsigned_abs()).unwrap_or(i128::MAX)
    }
}

/// `digits[.digits*]`, at most 20 before the point.
fn read_decimal(text: &[u8], digits: usize) -> Option<u64> {
    let n = count_digits(text, 0);
    if n == 0 || n > 20 {
        return None;
    }
    let fraction = match text.get(n) {
        None => &[],
        Some(b'.') => &text[n + 1..],
        Some(_) => return None,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let take = |value: i128, b: &u8| value * 10 + i128::from(b - b'0');
    let whole = text[..n].iter().fold(0, take);
    let padded = fraction.iter().chain(std::iter::repeat(&b'0')).take(digits);
    in_range(padded.fold(whole, take))
}

/// Seconds east of Greenwich: `Z`, `±HH:MM`, `±HHMM` or `±HH`.
pub fn offset_s(text: &[u8]) -> Option<i64> {
    if matches!(text, b"Z" | b"z") {
        return Some(0);
    }
    let sign = match text.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = two(text, 1)?;
    let minutes = match text.len() {
        3 => 0,
        5 => two(text, 3)?,
        6 if text[3] == b':' => two(text, 4)?,
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * i64::from(hours * 3600 + minutes * 60))
}

/// A date and a time of the day, as numbers that are still to be checked.
#[derive(Clone, Copy, Default)]
pub struct Moment {
    pub year: u32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

impl Moment {
    /// Nanoseconds since the epoch at an offset, or `None` when there is no such time.
    pub fn time_ns(&self, fraction_ns: u64, offset_s: i64) -> Option<u64> {
        let days = days(self.year, self.month, self.day)?;
        if self.hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let of_day = self.hour * 3600 + self.minute * 60 + self.second;
        let seconds = days * 86_400 + i64::from(of_day) - offset_s;
        in_range(i128::from(seconds) * NANOSECOND + i128::from(fraction_ns))
    }
}

/// `YYYY-MM-DD`, then `T`, `t` or a blank, `HH:MM:SS[(.|,)fraction]`, at most one blank, and an offset or none.
fn read_iso(text: &[u8], zone_offset_s: i64) -> Option<u64> {
    let separators = text.get(..19)?;
    if separators[4] != b'-' || separators[7] != b'-' || separators[13] != b':' || separators[16] != b':' {
        return None;
    }
    if !matches!(separators[10], b'T' | b't' | b' ') {
        return None;
    }
    let moment = Moment {
        year: two(text, 0)? * 100 + two(text, 2)?,
        month: two(text, 5)?,
        day: two(text, 8)?,
        hour: two(text, 11)?,
        minute: two(text, 14)?,
        second: two(text, 17)?,
    };
    let mut at = 19;
    let mut fraction = 0;
    if let Some(b'.' | b',') = text.get(at) {
        let n = count_digits(text, at + 1);
        if n == 0 {
            return None;
        }
        fraction = fraction_ns(&text[at + 1..at + 1 + n]);
        at += 1 + n;
    }
    at += usize::from(text.get(at) == Some(&b' '));
    let offset_s = if at == text.len() { zone_offset_s } else { offset_s(&text[at..])? };
    moment.time_ns(fraction, offset_s)
}
