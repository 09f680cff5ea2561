//! Times written by a pattern of directives, which `logflow.timestamps` makes a regular expression of.

use crate::error::Error;
use crate::regexes::{Regex, Scratch};
use crate::time::{NANOSECOND, fraction_ns, in_range};
use crate::timekey::{Moment, offset_s};

/// A compiled pattern for a whole text, with the groups `Y y m d b H I p M S f z s`.
pub struct Pattern {
    regex: Regex,
    /// Numbers of the groups by their letters.
    groups: [Option<usize>; 128],
}

impl Pattern {
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let regex = Regex::new(pattern)?;
        let mut groups = [None; 128];
        for (number, name) in &regex.names {
            groups[usize::from(name.as_bytes()[0] & 127)] = Some(*number);
        }
        Ok(Self { regex, groups })
    }

    pub fn scratch(&self) -> Scratch {
        self.regex.scratch()
    }

    /// Read a time; `zone_offset_s` is for those without an offset.
    pub fn read(&self, scratch: &mut Scratch, text: &[u8], zone_offset_s: i64) -> Option<u64> {
        if !self.regex.search(scratch, text) {
            return None;
        }
        let group = |letter: u8| {
            let (start, end) = scratch.group(self.groups[usize::from(letter)]?)?;
            Some(&text[start..end])
        };
        let number = |letter: u8| group(letter).map(value_of);
        let fraction = group(b'f').map_or(0, fraction_ns);
        if let Some(seconds) = group(b's') {
            let seconds = seconds.iter().fold(0_i128, |value, b| value * 10 + i128::from(b - b'0'));
            return in_range(seconds * NANOSECOND + i128::from(fraction));
        }
        let short_year = |year: u32| year + if year >= 69 { 1900 } else { 2000 };
        let moment = Moment {
            year: number(b'Y').or_else(|| number(b'y').map(short_year))?,
            month: number(b'm').or_else(|| month(group(b'b')?))?,
            day: number(b'd')?,
            hour: match number(b'H') {
                Some(hour) => hour,
                None => number(b'I').map_or(Some(0), |hour| twelve(hour, group(b'p')))?,
            },
            minute: number(b'M').unwrap_or(0),
            second: number(b'S').unwrap_or(0),
        };
        let offset_s = group(b'z').map_or(Some(zone_offset_s), offset_s)?;
        moment.time_ns(fraction, offset_s)
    }
}

/// The value of at most four digits.
fn value_of(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, b| value * 10 + u32::from(b - b'0'))
}

fn month(name: &[u8]) -> Option<u32> {
    const MONTHS: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let name = name.get(..3)?;
    let place = MONTHS.chunks(3).position(|month| month.eq_ignore_ascii_case(name))?;
    Some(place as u32 + 1)
}

/// The hour of the day of an hour of the 12-hour clock.
fn twelve(hour: u32, half: Option<&[u8]>) -> Option<u32> {
    let afternoon = half.is_some_and(|half| half.eq_ignore_ascii_case(b"pm"));
    if (1..=12).contains(&hour) { Some(hour % 12 + if afternoon { 12 } else { 0 }) } else { None }
}
