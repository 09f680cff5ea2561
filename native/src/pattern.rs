//! Times written by a pattern of directives, which `logflow.timestamps` makes a regular expression of.

use crate::error::Error;
use crate::regexes::{Regex, Scratch};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::{NANOSECOND, date, fraction_ns, in_range};
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
        let year = number(b'Y').or_else(|| number(b'y').map(short_year));
        let moment = Moment {
            year: year.unwrap_or(0),
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
        match year {
            Some(_) => moment.time_ns(fraction, offset_s),
            None => latest(moment, fraction, offset_s, today()),
        }
    }
}

/// Days from 1970 to today, by the clock of the machine.
fn today() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| (since.as_secs() / 86_400) as u32)
}

/// The time in the latest year in which there is such a day, and which is not later than the end of tomorrow.
fn latest(moment: Moment, fraction_ns: u64, offset_s: i64, today: u32) -> Option<u64> {
    const YEARS_BACK: u32 = 8;
    let limit_ns = (u64::from(today) + 2) * 86_400 * NANOSECOND as u64;
    let this_year = date(today).0;
    (this_year.saturating_sub(YEARS_BACK)..=this_year + 1)
        .rev()
        .filter_map(|year| Moment { year, ..moment }.time_ns(fraction_ns, offset_s))
        .find(|time_ns| *time_ns < limit_ns)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_year_it_is_the_latest_that_is_not_after_tomorrow() {
        let at = |month, day, today| {
            let moment = Moment { month, day, hour: 12, ..Moment::default() };
            latest(moment, 0, 0, today).map(|ns| date((ns / 86_400_000_000_000) as u32))
        };
        let new_year = 20_454; // 2026-01-01
        assert_eq!(at(12, 31, new_year), Some((2025, 12, 31)));
        assert_eq!(at(1, 1, new_year), Some((2026, 1, 1)));
        assert_eq!(at(1, 2, new_year), Some((2026, 1, 2)));
        assert_eq!(at(1, 3, new_year), Some((2025, 1, 3)));
        assert_eq!(at(1, 1, new_year - 1), Some((2026, 1, 1)));
        assert_eq!(at(2, 29, new_year), Some((2024, 2, 29)));
        assert_eq!(at(2, 30, new_year), None);
    }
}
